//! Links release builds small: what is resident of the operator is for a third its own code.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=IPAM_AUDIT_FOR_IMAGE");
    let of_build = |name: &str| std::env::var(name).unwrap_or_default();
    // For this target Rust brings a linker that knows these words; others may not.
    if of_build("PROFILE") != "release" || of_build("TARGET") != "x86_64-unknown-linux-gnu" {
        return;
    }
    // Generic code is compiled for each type, and much of it comes out the same.
    println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    // A megabyte of relocations in twenty kilobytes; needs glibc 2.36, which the image has and some desks have not.
    if !of_build("IPAM_AUDIT_FOR_IMAGE").is_empty() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
