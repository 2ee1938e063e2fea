fn main() -> anyhow::Result<()> {
    let mut e = aya::EbpfLoader::new().load(lb_userspace::datapath::OBJECT)?;
    let p: &mut aya::programs::Xdp = e.program_mut("divvy").unwrap().try_into()?;
    if let Err(e) = p.load() {
        let aya::programs::ProgramError::LoadError { verifier_log, .. } = &e else {
            panic!("{e:?}")
        };
        let s = verifier_log.to_string();
        let l: Vec<_> = s.lines().collect();
        for x in &l[l.len().saturating_sub(45)..] {
            println!("{x}");
        }
        return Ok(());
    }
    println!("{:?}", p.info()?.verified_instruction_count());
    println!("{:?}", p.info()?.size_jitted());
    Ok(())
}
