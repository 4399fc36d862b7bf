//! Where a disk is plugged in: a mount namespace, a loop device, a mounted file system.
//!
//! The namespace is held by one child that sleeps. Everything that uses the mounts runs inside, by
//! way of [`Place::wrapper`]. When the test ends, or is killed, the kernel kills the children
//! (`support/process`), takes down the mounts of the namespace that nobody is in any more, and with
//! them the loop device, which was told to go with its last user.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use super::device::Disk;
use super::fuse;
use super::image::Image;
use crate::support::clock::pause;
use crate::support::process::Process;
use crate::support::{Deadline, Scratch};

/// What is made on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSystem {
    /// With a journal, as `mkfs.ext4` makes it.
    Ext4,
    /// The same, mounted so that time stamps do not go through the journal. Without that, a write waits in
    /// the call that submits it while a commit holds the inode: a disk that hangs holds the shard.
    Ext4Lazytime,
    /// As `mkfs.xfs` makes it.
    Xfs,
}

impl FileSystem {
    /// Both, as they come.
    pub const ALL: [Self; 2] = [Self::Ext4, Self::Xfs];

    /// As `mount` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Ext4Lazytime => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// How it is mounted. Each disk begins as a copy of one image, which XFS would take for one disk.
    fn options(self) -> &'static str {
        match self {
            Self::Ext4 => "rw",
            Self::Ext4Lazytime => "lazytime",
            Self::Xfs => "nouuid",
        }
    }

    /// The smallest disk that leaves room for a log. XFS refuses less than 300 MiB.
    fn bytes(self) -> u64 {
        match self {
            Self::Ext4 | Self::Ext4Lazytime => 160 << 20,
            Self::Xfs => 320 << 20,
        }
    }

    /// Makes it in a file. Nothing is left to be done in the background after the mount.
    fn make(self, path: &Path) -> Result<(), String> {
        let mut command = match self {
            Self::Ext4 | Self::Ext4Lazytime => Command::new("mkfs.ext4"),
            Self::Xfs => Command::new("mkfs.xfs"),
        };
        match self {
            Self::Ext4 | Self::Ext4Lazytime => command.args([
                "-q",
                "-F",
                "-b",
                "4096",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
            ]),
            Self::Xfs => command.args(["-q", "-f", "-K", "-s", "size=4096"]),
        };
        run(command.arg(path))
    }

    /// An empty one, made once.
    pub fn image(self, scratch: &Scratch) -> Result<Image, String> {
        static MADE: Mutex<BTreeMap<FileSystem, Image>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = made.get(&self) {
            return Ok(image.clone());
        }
        let path = scratch.path().join(self.name());
        let file = File::create(&path).map_err(|error| error.to_string())?;
        file.set_len(self.bytes())
            .map_err(|error| error.to_string())?;
        self.make(&path)?;
        let image = Image::load(&path);
        std::fs::remove_file(&path).map_err(|error| error.to_string())?;
        made.insert(self, image.clone());
        Ok(image)
    }
}

/// A mount namespace and a scratch folder that its mounts lie in.
#[derive(Debug)]
struct Room {
    // Dropped first: the mounts go with it.
    holder: Process,
    scratch: Scratch,
}

/// A disk with a file system, plugged in and mounted.
#[derive(Debug)]
pub struct Place {
    room: Arc<Room>,
    folder: PathBuf,
    disk: Disk,
    file_system: FileSystem,
    mounted: bool,
}

impl Place {
    /// A disk with an empty file system, mounted. None where the machine forbids it and its owner
    /// said that this is known; a panic where nobody said so, and always in continuous integration.
    #[track_caller]
    pub fn new(name: &str, file_system: FileSystem) -> Option<Self> {
        let made = Room::enter(name).and_then(|room| Self::in_room(room, file_system));
        match made {
            Ok(place) => Some(place),
            Err(reason) => {
                let known = std::env::var("FLUMEN_WITHOUT_FAULT_DISK").is_ok_and(|set| set == "1");
                let in_ci = std::env::var("CI").is_ok_and(|set| set == "true");
                assert!(
                    known && !in_ci,
                    "no fault disk on this machine: {reason}. It needs root, /dev/fuse, loop devices, \
                     mount namespaces, ext4, XFS and their tools. FLUMEN_WITHOUT_FAULT_DISK=1 goes on \
                     without these tests, but not where CI=true"
                );
                eprintln!("NOT TESTED, no fault disk on this machine: {reason}");
                None
            }
        }
    }

    /// One more disk, seen by the same processes.
    #[track_caller]
    pub fn beside(&self, file_system: FileSystem) -> Self {
        Self::in_room(Arc::clone(&self.room), file_system).expect("there is one already")
    }

    fn in_room(room: Arc<Room>, file_system: FileSystem) -> Result<Self, String> {
        let disk = Disk::new(file_system.image(&room.scratch)?);
        let connection = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .map_err(|error| format!("/dev/fuse: {error}"))?;
        let number = Arc::strong_count(&room);
        let folder = room.scratch.folder(&format!("disk-{number}"));
        std::fs::write(folder.join("device"), "").expect("scratch is writable");
        std::fs::create_dir_all(folder.join("mount")).expect("scratch is writable");
        let mut place = Self {
            room,
            folder,
            disk,
            file_system,
            mounted: false,
        };
        place.plug_in(connection)?;
        place.try_attach()?;
        Ok(place)
    }

    /// Mounts the FUSE file, and serves it from a thread of its own.
    fn plug_in(&self, connection: File) -> Result<(), String> {
        let stdin = connection.try_clone().map_err(|error| error.to_string())?;
        let disk = self.disk.clone();
        std::thread::spawn(move || fuse::serve(connection, &disk));
        let options = "fd=0,rootmode=100600,user_id=0,group_id=0,allow_other";
        let mut command = self.inside("mount");
        command
            .args(["-i", "-t", "fuse", "-o", options, "fault-disk"])
            .arg(self.device());
        run(command.stdin(Stdio::from(stdin)))
    }

    fn device(&self) -> PathBuf {
        self.folder.join("device")
    }

    /// What a command has to begin with to see the mounts.
    pub fn wrapper(&self) -> Vec<String> {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.room.holder.pid());
        vec!["nsenter".to_owned(), namespace, "--".to_owned()]
    }

    fn inside(&self, program: &str) -> Command {
        let wrapper = self.wrapper();
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).arg(program);
        command
    }

    /// Runs a shell script where the mounts can be seen; what it complained about, if it failed.
    pub fn script(&self, text: &str) -> Result<(), String> {
        run(self.inside("sh").args(["-c", text]))
    }

    /// A file system in memory, of so many bytes. Returns where the processes inside see it, and where
    /// this process does.
    pub fn memory(&self, name: &str, bytes: u64) -> (PathBuf, PathBuf) {
        let folder = self.room.scratch.folder(name);
        let mount = format!(
            "mount -i -t tmpfs -o size={bytes} tmpfs {}",
            folder.display()
        );
        self.script(&mount).expect("tmpfs is everywhere");
        let root = format!("/proc/{}/root", self.room.holder.pid());
        let outside = format!("{root}{}", folder.display()).into();
        (folder, outside)
    }

    /// The disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Where it is mounted. Nothing but what runs inside can see what is there.
    pub fn mount_point(&self) -> PathBuf {
        self.folder.join("mount")
    }

    /// Attaches a loop device and mounts what the disk holds.
    pub fn attach(&mut self) {
        if let Err(reason) = self.try_attach() {
            panic!("{} cannot be mounted: {reason}", self.file_system.name());
        }
    }

    /// The same; what the kernel has against it.
    pub fn try_attach(&mut self) -> Result<(), String> {
        assert!(!self.mounted, "one mount at a time");
        let (device, mount_point) = (self.device(), self.mount_point());
        let (device, mount_point) = (device.display(), mount_point.display());
        let (kind, options) = (self.file_system.name(), self.file_system.options());
        self.script(&format!(
            "set -e\n\
             loop=$(losetup --find --show --direct-io=on --sector-size 4096 {device})\n\
             trap 'losetup -d $loop' EXIT\n\
             test $(cat /sys/block/${{loop#/dev/}}/loop/dio) = 1 || {{ echo no direct I/O >&2; exit 1; }}\n\
             mount -i -t {kind} -o {options} $loop {mount_point}\n"
        ))?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts, and the loop device goes.
    pub fn detach(&mut self) {
        let mount_point = self.mount_point();
        if let Err(reason) = self.script(&format!("umount {}", mount_point.display())) {
            panic!("cannot be unmounted: {reason}");
        }
        self.mounted = false;
    }

    /// Unmounts, and mounts this instead.
    pub fn exchange(&mut self, image: Image) {
        if self.mounted {
            self.detach();
        }
        self.disk.heal();
        self.disk.insert(image);
        self.attach();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What waits in the disk would hold up the end of the mount.
        self.disk.heal();
    }
}

impl Room {
    /// A new one, held by a child that sleeps.
    fn enter(name: &str) -> Result<Arc<Self>, String> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let scratch = Scratch::new(&format!("disk-{name}"));
        let hold =
            "exec unshare --mount --propagation private sh -c 'echo held; exec sleep infinity'";
        let arguments = ["-c".to_owned(), hold.to_owned()];
        let mut holder = Process::start("holder", scratch.path(), "sh", &arguments, false);
        let deadline = Deadline::after(Duration::from_secs(10));
        while !holder.log().contains("held") {
            if !holder.running() || deadline.passed() {
                return Err(format!("unshare: {}", holder.log().trim()));
            }
            pause(Duration::from_millis(5));
        }
        Ok(Arc::new(Self { holder, scratch }))
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", output.status, said.trim()))
}

/// Detaches loop devices over scratch folders of test processes that are gone: a process killed
/// between the making of a loop device and its mount leaves one.
fn sweep() {
    let listed = Command::new("losetup")
        .args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"])
        .output();
    let Ok(listed) = listed else { return };
    let ours = Path::new(env!("CARGO_TARGET_TMPDIR")).join("run-");
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let Some((device, file)) = line.trim().split_once(' ') else {
            continue;
        };
        let Some(rest) = file.trim().strip_prefix(&*ours.to_string_lossy()) else {
            continue;
        };
        let pid = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            drop(run(Command::new("losetup").args(["-d", device])));
        }
    }
}
