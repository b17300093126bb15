//! The commands of docs/bundle.md, run by a shell with programs that stand in for kubectl and the AWS CLI.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use ipam_audit_bundle::{Bundle, Clock, read};

use crate::fixture::{Files, list, warnings};

const DOCUMENT: &str = include_str!("../../../../docs/bundle.md");

/// Says what is in the file of the same name; a kind without one is a kind that the cluster does not have.
const KUBECTL: &str = "#!/bin/sh\nset -e\n[ \"$1\" = get ]\ncat \"$FILES/kubernetes/$2.json\"\n";
const AWS: &str = "#!/bin/sh
set -e
[ \"$1\" = ec2 ]
case \"$*\" in
*--query*) echo 'subnet-1\tsubnet-2' ;;
*get-subnet-cidr-reservations*)
    echo '{\"SubnetIpv4CidrReservations\": [{\"SubnetCidrReservationId\": \"scr-'$4'\", \"SubnetId\": \"'$4'\",'
    echo '\"Cidr\": \"10.0.0.64/26\", \"ReservationType\": \"prefix\"}]}' ;;
*) cat \"$FILES/ec2/${2#describe-}.json\" ;;
esac
";

/// The commands of the document, in order.
fn commands() -> Vec<&'static str> {
    let blocks = DOCUMENT.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

fn run(script: &str, files: &Path, dir: &Path) -> Output {
    for (name, text) in [("kubectl", KUBECTL), ("aws", AWS)] {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-euc", script]).current_dir(dir).env("PATH", path).env("FILES", files).env("VPC", "vpc-1");
    shell.output().unwrap()
}

fn bundle_of(scripts: &[&str], files: &Files) -> Bundle {
    let (files, dir) = (files.in_a_folder(), tempfile::tempdir().unwrap());
    for script in scripts {
        let output = run(script, files.path(), dir.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    read(&dir.path().join("bundle")).unwrap()
}

#[test]
fn the_first_commands_make_the_least_bundle() {
    let bundle = bundle_of(&commands()[..1], &Files::minimal());
    assert_eq!((warnings(&bundle), bundle.clock), (vec![], Clock::Manifest));
    let missing =
        bundle.snapshot.sources().into_iter().filter(|state| state.is_missing() && !state.source.is_optional());
    assert_eq!(missing.count(), 0);
}

#[test]
fn the_further_commands_add_what_the_cluster_has() {
    let mut files = Files::minimal();
    files.put("kubernetes/configmaps.json", &list("", &[]));
    for (name, key) in [
        ("instances", "Reservations"),
        ("vpcs", "Vpcs"),
        ("security-groups", "SecurityGroups"),
        ("route-tables", "RouteTables"),
        ("instance-types", "InstanceTypes"),
    ] {
        files.put(&format!("ec2/{name}.json"), &serde_json::json!({key: []}));
    }
    let bundle = bundle_of(&commands()[..2], &files);
    assert_eq!(warnings(&bundle), Vec::<String>::new());
    assert_eq!(bundle.snapshot.ec2.reservations.value().map(Vec::len), Some(2));
    assert!(bundle.snapshot.ec2.instances.value().is_some());
    let fault = bundle.snapshot.objects.eni_configs.fault.unwrap();
    assert!(fault.message.contains("kubernetes/eniconfigs.json is not in the bundle"), "{}", fault.message);
}
