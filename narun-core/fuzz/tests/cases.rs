//! The properties of all targets under made-up inputs, where libFuzzer is not at hand.
//!
//! The inputs follow from a seed: changed golden vectors, and texts of words that the parsers know.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `FUZZ_CASES` | inputs of each target | 2,000 |
//! | `FUZZ_SEED` | the seed | 1 |

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use narun_core_fuzz::TARGETS;

/// Words of which texts consist.
const WORDS: &[&str] = &[
    "$JS.ACK.",
    "_",
    "hash",
    "TASK",
    "hello",
    ".",
    "..",
    "1",
    "17",
    "1500000000000000000",
    "18446744073709551616",
    "-1",
    "*",
    ">",
    " ",
    "\r\n",
    "\0",
    "ä",
    "example.com",
    ":",
    ":8080",
    "[::1]",
    "[",
    "]",
    "@",
    "/",
    "{id}",
    "{*rest}",
    "{",
    "}",
    "%2f",
    "%",
    "?",
    "#",
    ",",
    ";",
    "=",
    "\"",
    "\\",
    "for=192.0.2.1",
    "for=",
    "proto=https",
    "host=",
    "_hidden",
    "unknown",
    "192.0.2.1",
    "2001:db8::1",
    "::ffff:1.2.3.4",
    "routes:\n",
    "- path: /a\n  app: a\n",
    "- grpc: a.B\n  app: a\n",
    "  host: \"*.example.com\"\n",
    "  method: GET\n",
    "nats_url: nats://localhost\n",
    "nats_stream: TASK\n",
    "request_timeout_seconds: ",
    "  expiry_seconds: 1\n",
    "${A:-b}",
    "\u{feff}",
    "null",
    "true",
    "0.0000001",
    "1e400",
    "~",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    "\t",
    "dead.TASK.",
    "call.TASK.",
];

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `end`; 0 if `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// The payloads of the golden vectors.
fn vectors() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors.txt");
    let text = std::fs::read_to_string(path).expect("the golden vectors");
    let payload = |block: &str| -> Vec<u8> {
        let digits: String = block.lines().filter_map(|line| line.strip_prefix("hex ")).collect();
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
        pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")).collect()
    };
    text.split("\n\n").map(payload).filter(|payload| !payload.is_empty()).collect()
}

/// An input: bytes, a text of words, or a changed vector behind some bytes that targets use for other things.
fn input(random: &mut Random, vectors: &[Vec<u8>]) -> Vec<u8> {
    let mut input = match random.below(8) {
        0 => (0..random.below(400)).map(|_| random.next() as u8).collect(),
        1..4 => (0..random.below(12)).flat_map(|_| WORDS[random.below(WORDS.len())].bytes()).collect(),
        4 => {
            let prefix = (0..random.below(5)).map(|_| 255 - (random.next() as u8 & 7)).collect::<Vec<_>>();
            [prefix, vectors[random.below(vectors.len())].clone()].concat()
        }
        _ => vectors[random.below(vectors.len())].clone(),
    };
    for _ in 0..random.below(5) {
        let place = random.below(input.len() + 1);
        match random.below(5) {
            0 if place < input.len() => input[place] = random.next() as u8,
            1 if place < input.len() => input[place] ^= 1 << random.below(8),
            2 => input.truncate(place),
            3 => input.insert(place, random.next() as u8),
            4 => drop(input.splice(place..place, WORDS[random.below(WORDS.len())].bytes())),
            _ => {}
        }
    }
    input
}

#[test]
fn the_properties_hold() {
    let (cases, seed, vectors) = (number("FUZZ_CASES", 2_000), number("FUZZ_SEED", 1), vectors());
    println!("{cases} inputs for each of {} targets, seed {seed}", TARGETS.len());
    for (place, (name, check)) in (0_u64..).zip(TARGETS) {
        let mut random = Random(seed ^ place.wrapping_mul(0xd1b5_4a32_d192_ed03));
        for case in 0..cases {
            let input = input(&mut random, &vectors);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) {
                println!("{name}, case {case} of seed {seed}: {input:02x?}");
                resume_unwind(panic);
            }
        }
    }
}
