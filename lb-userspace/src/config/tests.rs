use super::*;
#[test]
fn explore() {
    let t = |name: &str, text: String| {
        let s = std::time::Instant::now();
        let r = parse(&text, "f.yaml");
        let e = s.elapsed();
        let m = match r {
            Ok(_) => "ok".to_string(),
            Err(e) => e.to_string(),
        };
        let n = m.lines().count();
        println!(
            "{name}: {:?} in {} lines: {}",
            e,
            n,
            m.lines()
                .take(3)
                .collect::<Vec<_>>()
                .join("\n   ")
                .chars()
                .take(600)
                .collect::<String>()
        );
        let rss = std::fs::read_to_string("/proc/self/status").unwrap();
        println!(
            "   {}",
            rss.lines().find(|l| l.starts_with("VmHWM")).unwrap()
        );
    };
    let n: usize = std::env::var("N").map_or(1 << 20, |v| v.parse().unwrap());
    t("bomb", {
        let mut s = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for i in 1..40 {
            s += &format!(
                "a{i}: &a{i} [{}]\n",
                vec![format!("*a{}", i - 1); 9].join(",")
            );
        }
        s
    });
    t(
        "quadratic",
        format!(
            "a: &a [{}]\nb: [{}]\n",
            "x,".repeat(n / 10),
            "*a,".repeat(n / 10)
        ),
    );
    t(
        "long string aliases",
        format!(
            "a: &a {}\nb: [{}]\n",
            "x".repeat(n / 2),
            "*a,".repeat(n / 8)
        ),
    );
    t("deep flow", "[".repeat(n));
    t("deep map", "{a: ".repeat(n / 4));
    t("deep seq", "- ".repeat(n / 2));
    t("deep q", "? ".repeat(n / 2));
    t("wide", format!("[{}]", "1,".repeat(n / 2)));
    t(
        "interfaces",
        format!("interfaces: [{}]", "1,".repeat(n / 2)),
    );
    t(
        "unknown keys",
        (0..n / 12)
            .map(|i| format!("k{i}: 1\n"))
            .collect::<String>(),
    );
    t("dup keys", "interfaces: 1\n".repeat(n / 14));
    t("dup unknown keys", "xx: 1\n".repeat(n / 6));
    t("long key", format!("{}: 1", "k".repeat(1000)));
    t("long key2", format!("? {}\n: 1", "k".repeat(n)));
    t("recursive", "a: &a [*a, *a]".into());
    t(
        "anchors",
        (0..n / 12)
            .map(|i| format!("- &a{i} 1\n"))
            .collect::<String>(),
    );
    t("quotes", format!("\"{}", "a".repeat(n)));
    t("colons", ":".repeat(n));
    t("empty", "".into());
    t("comment", "# x\n".into());
    t("tab", "a:\n\tb: 1".into());
    t("syn", "a: [1, 2\nb: 3".into());
    t("two", "a: 1\n---\nb: 2".into());
    t("tag", "interfaces: !foo [a]\nservices: !bar 1\n".into());
    t("alias", "a: *x".into());
    t("bin", "\0\u{1}".into());
    t(
        "nullkey",
        "~: 1\n1: 2\n[a]: 3\n{a: b}: 4\n? 5\n: 6\n".into(),
    );
    t("text", "hello".into());
    t("merge", "<<: 5\n".into());
}
