//! Files from templates: their permissions, whose they are, and when they are removed.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::{command, end, run, scene, start, text};
use crate::support::waiting::wait_until;

#[test]
fn a_file_from_a_template_is_private_and_whole() {
    let process = scene(b"CNRY\"v");
    fs::write(process.path("app.tmpl"), "a = {{ secret(\"github/app\") | tojson }}\n").unwrap();
    let options = ["--template", "app.tmpl:app.conf", "--remove-files"];
    let ran = run(&process, &options, "stat -c %a app.conf; cat app.conf; ls | grep -c 'app.conf.'");
    assert_eq!(text(&ran.stdout), "600\na = \"CNRY\\\"v\"\n0\n", "{}", text(&ran.stderr));
    wait_until(|| !process.path("app.conf").exists());
    // Without the option the file stays.
    let ran = run(&process, &options[..2], "true");
    assert!(ran.status.success() && process.path("app.conf").exists(), "{}", text(&ran.stderr));
    let mode = fs::metadata(process.path("app.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_command_removes_no_file_of_another_one() {
    let process = scene(b"value");
    fs::write(process.path("app.tmpl"), "{{ secret(\"github/app\") }}").unwrap();
    // A file with the same text that others can read is replaced.
    fs::write(process.path("app.conf"), "value").unwrap();
    fs::set_permissions(process.path("app.conf"), fs::Permissions::from_mode(0o644)).unwrap();
    let options = ["--template", "app.tmpl:app.conf", "--remove-files"];
    let script = "echo ready; exec sleep 600";
    let one = start(
        &process,
        &[&options[..], &["--overwrite", "--capability", "github.repo.read"]].concat(),
        script,
    );
    let mode = fs::metadata(process.path("app.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = start(&process, &options, script);
    end(one);
    wait_until(|| fs::read_dir(process.path("runtime")).unwrap().next().is_none());
    assert_eq!(fs::read(process.path("app.conf")).unwrap(), b"value", "the other command's");
    end(other);
    wait_until(|| !process.path("app.conf").exists());
}

#[test]
fn a_file_that_two_commands_use_stays_until_both_have_ended() {
    let process = scene(b"value");
    fs::write(process.path("app.tmpl"), "{{ secret(\"github/app\") }}").unwrap();
    let options = ["--template", "app.tmpl:app.conf", "--remove-files"];
    let script = "echo ready; exec sleep 600";
    let one = start(&process, &options, script);
    let other = start(&process, &[&options[..], &["--capability", "github.repo.read"]].concat(), script);
    // When the command ends that has written the file last
    end(other);
    wait_until(|| fs::read_dir(process.path("runtime")).unwrap().next().is_none());
    // Then the file stays for the other command, and goes with it
    assert_eq!(fs::read(process.path("app.conf")).unwrap(), b"value");
    // And a third command is told that it is not alone
    let third = run(&process, &options, "true");
    assert!(text(&third.stderr).contains("another running `keyward run` writes"), "{}", text(&third.stderr));
    end(one);
    wait_until(|| !process.path("app.conf").exists());
}

#[test]
fn a_file_of_a_running_command_is_not_written_from_another_template() {
    // Given a command that has written a file
    let process = scene(b"value");
    for (name, text) in [("app", "{{ secret(\"github/app\") }}"), ("other", "x={{ secret(\"github/app\") }}")]
    {
        fs::write(process.path(&format!("{name}.tmpl")), text).unwrap();
    }
    fs::copy(process.path("app.tmpl"), process.path("copy.tmpl")).unwrap();
    let one = start(&process, &["--template", "app.tmpl:app.conf"], "echo ready; exec sleep 600");
    // When another command has another template for it, then it is refused
    let by = |template: &str| run(&process, &["--template", &format!("{template}.tmpl:./app.conf")], "true");
    let (refused, same) = (by("other"), by("copy"));
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("(process {})", one.id())) && said.contains("app.tmpl"), "{said}");
    // And a copy of the template is not another one
    assert!(same.status.success(), "{}", text(&same.stderr));
    assert_eq!(fs::read(process.path("app.conf")).unwrap(), b"value");
    // When the command has ended, then the file is free
    end(one);
    wait_until(|| by("other").status.success());
    assert_eq!(fs::read(process.path("app.conf")).unwrap(), b"x=value");
}

#[test]
fn swapped_names_of_a_template_destroy_no_file() {
    // Given a template and files of the user
    let process = scene(b"CNRY-value");
    let texts = [
        ("app.tmpl", "{{ secret(\"github/app\") }}\n"),
        ("other.tmpl", "a = {{- secret('github/app') }}\n"),
        ("precious.conf", "precious\n"),
    ];
    for (name, text) in texts {
        fs::write(process.path(name), text).unwrap();
    }
    // When a start would replace one of them
    for (pair, more, parts) in [
        (
            "precious.conf:new.conf",
            &[][..],
            &["template_invalid", "`precious.conf` has no `{{ secret(\"NAME\") }}`"],
        ),
        ("precious.conf:app.tmpl", &[], &["`app.tmpl` has `{{ secret(…) }}`", "names the template first"]),
        ("app.tmpl:other.tmpl", &[], &["`other.tmpl` has `{{ secret(…) }}`", "names the template first"]),
        ("app.tmpl:other.tmpl", &["--overwrite"], &["it is a template", "names the template first"]),
        ("app.tmpl:precious.conf", &["--remove-files"], &["has not written it", "`--overwrite`"]),
        ("app.tmpl:/dev/null", &["--overwrite"], &["`/dev/null` is not a regular file", "would be replaced"]),
    ] {
        let ran = run(&process, &[&["--template", pair][..], more].concat(), "echo started");
        let said = text(&ran.stderr);
        // Then the command is not started, and no file has changed
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{pair}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{pair}: {said}");
        for (name, text) in texts {
            assert_eq!(fs::read_to_string(process.path(name)).unwrap(), text, "{pair}: {name}");
        }
    }
    // When the file may be replaced, then it is, and each further start may replace its own file
    let pair = ["--template", "app.tmpl:precious.conf"];
    for more in [&["--overwrite"][..], &[], &["--remove-files"]] {
        let ran = run(&process, &[&pair[..], more].concat(), "cat precious.conf");
        assert_eq!(text(&ran.stdout), "CNRY-value\n", "{more:?}: {}", text(&ran.stderr));
    }
    wait_until(|| !process.path("precious.conf").exists());
    // A file of the user in its place is not
    assert!(run(&process, &pair, "true").status.success(), "nothing is there");
    fs::write(process.path("new"), "precious again").unwrap();
    fs::rename(process.path("new"), process.path("precious.conf")).unwrap();
    let ran = run(&process, &pair, "true");
    assert_eq!(ran.status.code(), Some(2), "{}", text(&ran.stderr));
    assert_eq!(fs::read_to_string(process.path("precious.conf")).unwrap(), "precious again");
    // An empty file has nothing to lose
    fs::write(process.path("empty"), "").unwrap();
    assert!(run(&process, &["--template", "app.tmpl:empty"], "true").status.success());
}

#[test]
fn a_signal_in_the_middle_leaves_no_file() {
    let process = scene(b"value");
    fs::write(process.path("app.tmpl"), "{{ secret(\"github/app\") }}").unwrap();
    let options = ["--template", "app.tmpl:app.conf", "--remove-files", "--capability", "github.repo.read"];
    for is_running in [true, false, true, false] {
        let mut child = command(&process, &options, "sleep 600").stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        if is_running {
            wait_until(|| process.path("app.conf").exists());
            kill_process(pid, Signal::TERM).unwrap();
            child.wait().unwrap();
        } else {
            // Again and again, from before the credentials are fetched.
            wait_until(|| kill_process(pid, Signal::TERM).is_err() || child.try_wait().unwrap().is_some());
        }
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        wait_until(|| !process.path("app.conf").exists());
        wait_until(|| fs::read_dir(process.path("runtime")).unwrap().next().is_none());
    }
}
