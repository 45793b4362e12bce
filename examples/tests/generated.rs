//! Checks that the generated code is that of the `.proto`. With `NARUN_REGENERATE` set it is written:
//! `NARUN_REGENERATE=1 cargo test -p narun-examples --test generated`.

use std::fs;

use narun_support::testing::check_generated;
use protox::prost::Message as _;

const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
const CODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/generated/example.chat.rs");
const DESCRIPTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/generated/example.chat.bin");

#[test]
fn generated_code_is_current() {
    let mut compiler = protox::Compiler::new([PROTO]).expect("the folder of the .proto");
    compiler.include_imports(true).include_source_info(true).open_file("chat.proto").expect("a valid .proto");

    let scratch = tempfile::tempdir().expect("a directory");
    tonic_prost_build::configure()
        .out_dir(scratch.path())
        .compile_fds(compiler.file_descriptor_set())
        .expect("code");
    check_generated(CODE, &fs::read(scratch.path().join("example.chat.rs")).expect("the code"));

    // Reflection does not need positions and comments, which are the largest part.
    compiler.include_source_info(false);
    check_generated(DESCRIPTORS, &compiler.file_descriptor_set().encode_to_vec());
}
