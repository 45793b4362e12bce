//! The generated code is that of the `.proto`. With `NARUN_REGENERATE` set it is written anew:
//! `NARUN_REGENERATE=1 cargo test -p narun-grpc --test generated`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use protox::prost::Message as _;

const CODE: &str = "src/generated/isa.nats.rs";
const DESCRIPTORS: &str = "src/generated/isa.nats.bin";

#[test]
fn generated_code_is_current() {
    let set = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut compiler = protox::Compiler::new([set]).expect("the folder of the .proto");
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file("nats_service.proto")
        .expect("a sound .proto");

    let scratch = tempfile::tempdir().expect("a directory");
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .btree_map(".")
        .codec_path("crate::codec::LeanCodec")
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .out_dir(scratch.path())
        .compile_fds(compiler.file_descriptor_set())
        .expect("code");
    check(CODE, &fs::read(scratch.path().join("isa.nats.rs")).expect("the code"));

    // Reflection has no use for positions and comments, which are most of it.
    compiler.include_source_info(false);
    check(DESCRIPTORS, &compiler.file_descriptor_set().encode_to_vec());
}

fn check(path: &str, content: &[u8]) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), path].iter().collect();
    if env::var_os("NARUN_REGENERATE").is_some() {
        fs::write(&path, content).expect("a writable file");
    }
    let stored = fs::read(&path).unwrap_or_default();
    assert!(
        stored == content,
        "{} is not what the .proto gives: set NARUN_REGENERATE and run again",
        path.display()
    );
}
