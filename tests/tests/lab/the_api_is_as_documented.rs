//! `docs/openapi.yaml` and the server agree: each has what the other has, and what is answered is as it is
//! described, with no field more or less.

use std::{collections::BTreeSet, fs, path::PathBuf, thread, time::Duration};

use lb_tests::lab::{Answer, Divvy, IdleConnections, Lab, URL4};
use lb_userspace::api::routes::ROUTES;
use serde_json::{Value, json};

/// The description. Each object in it may have no other fields than those that it names.
fn description() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.yaml");
    let text = fs::read_to_string(&path).expect("it is in the repository");
    let mut document: Value = serde_yaml::from_str(&text).expect("it is YAML");
    close(&mut document["components"]["schemas"]);
    document
}

fn close(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            if keys.contains_key("properties") {
                keys.insert("additionalProperties".to_owned(), json!(false));
            }
            keys.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Methods and paths of the description.
fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    (paths.iter())
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            methods
                .filter(|method| *method != "parameters")
                .map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

/// The schema of an answer, which `default` describes where no status does.
fn schema(document: &Value, method: &str, path: &str, status: u16) -> Value {
    let responses = &document["paths"][path][method.to_lowercase()]["responses"];
    let response = (responses.get(status.to_string())).unwrap_or(&responses["default"]);
    let response = match response["$ref"].as_str() {
        Some(name) => document
            .pointer(name.trim_start_matches('#'))
            .expect("it is there"),
        None => response,
    };
    let mut schema = response["content"]["application/json"]["schema"].clone();
    assert!(
        schema.is_object(),
        "{method} {path} {status} is not described"
    );
    schema["components"] = document["components"].clone();
    schema
}

/// The answer is as described.
#[track_caller]
fn fits(document: &Value, method: &str, path: &str, answer: &Answer) {
    let of = format!("{method} {path} {}", answer.status);
    assert_eq!(answer.content_type, "application/json", "{of}");
    let schema = schema(document, method, path, answer.status);
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let body = answer.json();
    let problems: Vec<String> = (validator.iter_errors(&body))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{of}: {problems:#?}\n{body:#}");
}

fn ask(divvy: &Divvy, method: &str, path: &str, body: &str) -> Answer {
    divvy.ask(method, path, "application/json", body.as_bytes())
}

#[test]
fn each_route_is_described_and_each_description_is_served() {
    let served: BTreeSet<(String, String)> = (ROUTES.iter())
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    assert_eq!(described(&description()), served);
}

#[test]
fn and_every_answer_is_as_described() {
    let document = description();
    let lab = Lab::routed("openapi").backends(3).start();
    let divvy = lab.divvy(&lab.config().weight("web-3", 2));
    divvy.wait_for_all_up();
    let _idle = IdleConnections::open(lab.client(), URL4, 20);
    let mut asked = BTreeSet::new();
    let mut check = |method: &str, route: &str, path: &str, body: &str, status: u16| {
        let answer = ask(&divvy, method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.json());
        fits(&document, method, route, &answer);
        asked.insert((method.to_owned(), route.to_owned()));
        answer.json()
    };
    let of = |verb: &str| format!("/v1/services/{{service}}/backends/{{backend}}/{verb}");
    for (verb, body) in [
        ("drain", ""),
        ("weight", r#"{"weight": 5}"#),
        ("disable", ""),
    ] {
        let here = format!("/v1/services/web/backends/web-1/{verb}");
        check("POST", &of(verb), &here, body, 200);
        let status = check("GET", "/v1/status", "/v1/status", "", 200);
        let overridden = &status["services"][0]["backends"][0]["override"];
        assert!(overridden.is_object(), "{status:#}");
        let nowhere = format!("/v1/services/web/backends/wob/{verb}");
        check("POST", &of(verb), &nowhere, body, 404);
    }
    for body in [
        r#"{"weight": 1001}"#,
        r#"{"weight": 5, "for": "1h"}"#,
        r#"{"weight": "5"}"#,
        "{",
        "",
    ] {
        let answer = ask(
            &divvy,
            "POST",
            "/v1/services/web/backends/web-1/weight",
            body,
        );
        assert!((400..500).contains(&answer.status), "{body}: {answer:?}");
        fits(&document, "POST", &of("weight"), &answer);
    }
    check(
        "POST",
        &of("enable"),
        "/v1/services/web/backends/web-1/enable",
        "",
        200,
    );
    let flows = check("GET", "/v1/flows", "/v1/flows?service=web&limit=5", "", 200);
    assert_eq!(flows["flows"].as_array().map(Vec::len), Some(5));
    for query in ["limit=many", "client=web-1", "limit=-1"] {
        check("GET", "/v1/flows", &format!("/v1/flows?{query}"), "", 400);
    }

    let question = "client=198.51.100.7&vip=web";
    for query in [question, "client=198.51.100.7:5&vip=192.0.2.1:80&size=500"] {
        let path = format!("/v1/explain?{query}");
        check("GET", "/v1/explain", &path, "", 200);
    }
    for query in ["", "client=1&vip=web", &format!("{question}&size=x")] {
        let path = format!("/v1/explain?{query}");
        check("GET", "/v1/explain", &path, "", 400);
    }
    for (query, status) in [
        ("service=nobody", 404),
        ("", 400),
        ("service=web&every=0", 400),
    ] {
        let path = format!("/v1/trace?{query}");
        check("GET", "/v1/trace", &path, "", status);
    }

    let next = lab
        .config()
        .without("web-1")
        .with("on_exit: detach")
        .weight("web-3", 7);
    let next = next.with_default("timeouts: { established: 1h }").yaml();
    let diff = check("POST", "/v1/diff", "/v1/diff?file=next.yaml", &next, 200);
    assert_eq!(diff["settings"][0]["key"], "on_exit");
    let said = check(
        "POST",
        "/v1/diff",
        "/v1/diff?file=next.yaml",
        "interfaces: []",
        422,
    );
    let said = said["error"].as_str().expect("words");
    assert!(
        said.lines().count() > 1 && said.contains("next.yaml:"),
        "{said}"
    );
    check("POST", "/v1/reload", "/v1/reload", "", 200);
    divvy.write_config("interfaces: []");
    check("POST", "/v1/reload", "/v1/reload", "", 422);
    let status = check("GET", "/v1/status", "/v1/status", "", 200);
    assert!(status["config"]["last_error"].is_string());
    check("POST", "/v1/detach", "/v1/detach", "", 200);
    assert_eq!(asked, described(&document), "something was not asked");
}

#[test]
fn and_so_is_each_line_of_a_trace() {
    let mut schema = json!({ "$ref": "#/components/schemas/TraceLine" });
    schema["components"] = description()["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let lab = Lab::routed("trace_lines").backends(1).start();
    let divvy = lab.divvy(&lab.config().probed_directly());
    divvy.wait_for_all_up();
    let socket = divvy.run_dir().join("divvy.sock").display().to_string();
    let url = "http://divvy/v1/trace?service=web";
    let words = [
        "curl",
        "-sN",
        "--max-time",
        "8",
        "--unix-socket",
        &socket,
        url,
    ];
    let answer = thread::scope(|scope| {
        let curl = scope.spawn(|| lab.balancer().run(&words));
        lb_tests::lab::wait_until("the trace is on", Duration::from_secs(30), || {
            divvy.log().contains("tracing:")
        });
        lab.client().get(URL4).expect("it is served");
        curl.join().expect("it ends by its time")
    });
    let text = String::from_utf8(answer.stdout).expect("it is text");
    let mut kinds = BTreeSet::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("each is JSON");
        let problems: Vec<_> = validator
            .iter_errors(&line)
            .map(|e| e.to_string())
            .collect();
        assert!(problems.is_empty(), "{problems:#?}\n{line:#}");
        kinds.extend(line.as_object().expect("an object").keys().cloned());
    }
    assert_eq!(
        kinds,
        BTreeSet::from(["decision".to_owned(), "progress".to_owned()])
    );
}

#[test]
fn what_is_not_there_is_refused_in_json_too() {
    let lab = Lab::routed("refusals").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v2/status", 404),
        ("GET", "/v1/status/", 404),
        ("POST", "/v1/status", 405),
        ("DELETE", "/v1/services/web/backends/web-1/drain", 405),
        ("POST", "/v1/services/%FF/backends/web-1/drain", 400),
    ] {
        let answer = ask(&divvy, method, path, "");
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.content_type, "application/json", "{method} {path}");
        assert!(
            answer.json()["error"].is_string(),
            "{method} {path}: {answer:?}"
        );
    }
}

#[test]
fn who_asked_for_a_change_is_logged() {
    let lab = Lab::routed("who").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.must(&["drain", "web/web-1"]);
    divvy.must(&["reload"]);
    let log = divvy.log();
    for change in ["web/web-1 drains", "reloaded: nothing changed"] {
        let line = log
            .lines()
            .find(|line| line.contains(change))
            .expect("it is logged");
        assert!(line.contains("(by uid 0 (root), pid "), "{line}");
    }
    divvy.signal(nix::sys::signal::Signal::SIGHUP);
    lb_tests::lab::wait_until("a signal is logged", Duration::from_secs(10), || {
        divvy
            .log()
            .contains("reloaded: nothing changed (by signal)")
    });
}
