//! What the seam promises, asked of both shard worlds: each check runs on the ring and on glommio.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::{self, poll_once};
use tokio::sync::{Notify, oneshot};

use super::run_ring;
use crate::limits::ALIGN_BYTES;
use crate::reactor::{
    ByteStream, Clock, DiskFile, Fill, Ground, ShardWorld, StreamListener, World, WriteBuffer,
};

/// A check that runs in any world.
trait Check: Send + Clone + 'static {
    fn run<W: World>(self, world: W) -> impl Future<Output = ()>;
}

fn in_every_world(check: impl Check) {
    let again = check.clone();
    std::thread::spawn(move || run_ring(|world| check.run(world)).unwrap())
        .join()
        .unwrap();
    glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .spawn(move || again.run(ShardWorld::new()))
        .unwrap()
        .join()
        .unwrap();
}

/// Names a check.
macro_rules! check {
    ($name:ident, $type:ident, |$world:ident| $body:block) => {
        #[derive(Clone)]
        struct $type;

        impl Check for $type {
            async fn run<W: World>(self, $world: W) {
                $body
            }
        }

        #[test]
        fn $name() {
            in_every_world($type);
        }
    };
}

fn local() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A buffer whose every byte is `byte`.
fn filled<W: World>(world: &W, bytes: usize, byte: u8) -> W::Buffer {
    let mut buffer = world.buffer(bytes);
    assert_eq!(buffer.bytes().len(), bytes, "as long as it was asked for");
    buffer.bytes_mut().fill(byte);
    buffer
}

check!(sleepers_wake_after_their_time, Sleepers, |world| {
    let woken = Rc::new(RefCell::new(Vec::new()));
    let all = Rc::new(Notify::new());
    for delay in [30u64, 10, 20] {
        let (world_, woken, all) = (world.clone(), Rc::clone(&woken), Rc::clone(&all));
        world.spawn(async move {
            let begun = world_.now();
            world_.sleep(Duration::from_millis(delay)).await;
            assert!(world_.now() - begun >= Duration::from_millis(delay));
            woken.borrow_mut().push(delay);
            if woken.borrow().len() == 3 {
                all.notify_one();
            }
        });
    }
    all.notified().await;
    woken.borrow_mut().sort_unstable();
    assert_eq!(*woken.borrow(), [10, 20, 30]);
});

check!(a_sleep_that_is_given_up_wakes_nobody, GivenUp, |world| {
    let begun = world.now();
    for _ in 0..100 {
        let long = world.sleep(Duration::from_secs(3600));
        let short = world.sleep(Duration::from_micros(200));
        future::or(long, short).await;
    }
    assert!(world.now() - begun < Duration::from_secs(30));
});

check!(other_threads_wake_tasks, FromOutside, |world| {
    for round in 0..200u64 {
        let (tell, told) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            // Before and after the executor has gone to sleep.
            if round % 3 == 0 {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            tell.send(round).unwrap();
        });
        let woken = future::or(async { told.await.ok() }, async {
            world.sleep(Duration::from_secs(20)).await;
            None
        });
        assert_eq!(woken.await, Some(round), "a wake was lost");
        thread.join().unwrap();
    }
});

check!(tasks_that_yield_let_all_others_run, Yielding, |world| {
    let (count, done) = (Rc::new(Cell::new(0)), Rc::new(Notify::new()));
    for _ in 0..50 {
        let (world_, count, done) = (world.clone(), Rc::clone(&count), Rc::clone(&done));
        world.spawn(async move {
            for _ in 0..100 {
                count.set(count.get() + 1);
                world_.yield_now().await;
            }
            done.notify_one();
        });
    }
    while count.get() < 5_000 {
        world.yield_now().await;
    }
    done.notified().await;
});

check!(what_is_written_is_read_back_and_shared, ReadBack, |world| {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let file = world.create(&path, 1 << 20, Fill::Written).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 1 << 20);
    assert!(world.create(&path, 1 << 20, Fill::Written).await.is_err());
    let block = 128 << 10;
    for round in 0..6u8 {
        let buffer = filled(&world, block, round + 1);
        let offset = u64::from(round) * block as u64;
        let (result, buffer) = file.write_durable(buffer, block, offset).await;
        result.unwrap();
        // Readers on other threads may hold it for longer than we do.
        let shared = buffer.share(block - 10);
        let read = file.read(offset, block).await.unwrap();
        assert_eq!(read[..block - 10], shared[..]);
        std::thread::spawn(move || assert!(shared.iter().all(|byte| *byte == round + 1)))
            .join()
            .unwrap();
    }
    drop(file);
    let file = world.open(&path).await.unwrap();
    let tail = file.read((1 << 20) - 4096, 8192).await.unwrap();
    assert_eq!(tail.len(), 4096, "fewer only at the end of the file");
    let none = directory.path().join("none");
    assert_eq!(
        world.open(&none).await.unwrap_err().kind(),
        std::io::ErrorKind::NotFound
    );
});

check!(
    a_write_that_is_dropped_writes_nothing_else,
    Dropped,
    |world| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = world.create(&path, 1 << 20, Fill::Written).await.unwrap();
        for round in 0..8u8 {
            let buffer = filled(&world, 64 << 10, round + 1);
            let offset = u64::from(round) * (64 << 10);
            let write = file.write_durable(buffer, 64 << 10, offset);
            // Given up: its end is not waited for.
            drop(poll_once(write).await);
            // The memory of a write under way is nobody else's.
            drop(filled(&world, 64 << 10, 0xff));
        }
        drop(file);
        world.sleep(Duration::from_millis(100)).await;
        let file = world.open(&path).await.unwrap();
        for round in 0..8u8 {
            let read = file.read(u64::from(round) * (64 << 10), 64 << 10).await;
            let read = read.unwrap();
            // glommio takes back a write that the kernel has not seen.
            let own = |byte: &u8| *byte == round + 1 || *byte == 0;
            assert!(read.iter().all(own), "somebody else's bytes");
        }
    }
);

#[test]
fn a_write_that_is_dropped_on_the_ring_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    run_ring(|world| async move {
        let file = world.create(&path, 1 << 20, Fill::Written).await.unwrap();
        for round in 0..8u8 {
            let buffer = filled(&world, 64 << 10, round + 1);
            let offset = u64::from(round) * (64 << 10);
            drop(poll_once(file.write_durable(buffer, 64 << 10, offset)).await);
            drop(filled(&world, 64 << 10, 0xff));
        }
        // A file that is closed meanwhile is closed after its writes.
        drop(file);
        let file = world.open(&path).await.unwrap();
        for round in 0..8u8 {
            let deadline = world.now() + Duration::from_secs(20);
            loop {
                let read = file.read(u64::from(round) * (64 << 10), 64 << 10).await;
                if read.unwrap().iter().all(|byte| *byte == round + 1) {
                    break;
                }
                assert!(world.now() < deadline, "the write was not made");
                world.sleep(Duration::from_millis(1)).await;
            }
        }
    })
    .unwrap();
}

check!(
    an_error_of_the_device_gives_the_buffer_back,
    DeviceError,
    |world| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = world.create(&path, 1 << 20, Fill::Allocated).await.unwrap();
        let buffer = filled(&world, ALIGN_BYTES, 7);
        // An offset no file system has.
        let (result, buffer) = file.write_durable(buffer, ALIGN_BYTES, 1 << 62).await;
        assert!(result.is_err());
        assert!(buffer.bytes().iter().all(|byte| *byte == 7));
    }
);

check!(a_stream_carries_bytes_both_ways_and_ends, Echo, |world| {
    let listener = world.listen(local()).unwrap();
    let address = listener.local_address().unwrap();
    let megabytes = 8 << 20;
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut write = stream.try_clone().unwrap();
        // Writes and reads at once, so that both directions are full at times.
        let writer = std::thread::spawn(move || {
            let bytes: Vec<u8> = (0..=250u8).cycle().take(megabytes).collect();
            write.write_all(&bytes).unwrap();
            write.shutdown(std::net::Shutdown::Write).unwrap();
        });
        std::thread::park_timeout(Duration::from_millis(50));
        let mut echoed = Vec::new();
        stream.read_to_end(&mut echoed).unwrap();
        writer.join().unwrap();
        assert_eq!(echoed.len(), megabytes);
        assert!(
            (0..)
                .zip(&echoed)
                .all(|(at, byte)| at % 251 == i32::from(*byte))
        );
    });
    let accepted = listener.accept().await.unwrap();
    let stream = world.adopt(accepted).unwrap();
    let mut space = vec![0; 100_000];
    loop {
        let count = stream.read(&mut space).await.unwrap();
        if count == 0 {
            break;
        }
        stream.write_all(&space[..count]).await.unwrap();
    }
    stream.shutdown_write().await.unwrap();
    drop(stream);
    let ended = world.sleep(Duration::from_millis(1));
    ended.await;
    client.join().unwrap();
});

check!(
    a_read_that_is_given_up_loses_nothing,
    GivenUpRead,
    |world| {
        let listener = world.listen(local()).unwrap();
        let address = listener.local_address().unwrap();
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            for number in 0..200u8 {
                stream.write_all(&[number]).unwrap();
                std::thread::park_timeout(Duration::from_micros(300));
            }
        });
        let accepted = listener.accept().await.unwrap();
        let stream = world.adopt(accepted).unwrap();
        let mut received = Vec::new();
        while received.len() < 200 {
            let mut space = [0; 16];
            let read = async { Some(stream.read(&mut space).await.unwrap()) };
            let late = async {
                world.sleep(Duration::from_micros(200)).await;
                None
            };
            if let Some(count) = future::or(read, late).await {
                assert_ne!(count, 0, "the client has not ended");
                received.extend_from_slice(&space[..count]);
            }
        }
        assert!((0..200).eq(received));
        client.join().unwrap();
    }
);

check!(
    a_stream_that_is_dropped_while_it_waits_is_closed_at_once,
    ClosedAtOnce,
    |world| {
        let listener = world.listen(local()).unwrap();
        let address = listener.local_address().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let accepted = listener.accept().await.unwrap();
        let stream = world.adopt(accepted).unwrap();
        let mut space = [0; 16];
        assert!(poll_once(stream.read(&mut space)).await.is_none());
        world.sleep(Duration::from_millis(5)).await;
        drop(stream);
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || tell.send(client.read(&mut [0; 1]).unwrap()).unwrap());
        assert_eq!(told.await.unwrap(), 0, "the peer hears of the end");
    }
);

check!(
    a_listener_that_is_dropped_while_it_waits_is_closed_at_once,
    ListenerClosed,
    |world| {
        let listener = world.listen(local()).unwrap();
        let address = listener.local_address().unwrap();
        assert!(poll_once(listener.accept()).await.is_none());
        world.sleep(Duration::from_millis(5)).await;
        drop(listener);
        world.sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(address).is_err());
    }
);

#[test]
fn a_ring_that_ends_waits_for_its_writes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let (given, length) = (path.clone(), 512 << 10);
    run_ring(|world| async move {
        let file = world.create(&given, 1 << 20, Fill::Written).await.unwrap();
        let buffer = filled(&world, length, 9);
        drop(poll_once(file.write_durable(buffer, length, 0)).await);
        // Tasks that never end are dropped.
        let forever = world.clone();
        world.spawn(async move { forever.sleep(Duration::from_secs(3600)).await });
    })
    .unwrap();
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes[..length].iter().all(|byte| *byte == 9));
}

#[test]
fn a_ring_ends_when_its_work_does() {
    let clock = Clock::new();
    run_ring(|world| async move { world.sleep(Duration::from_millis(1)).await }).unwrap();
    // Not when the kernel has something to say.
    assert!(clock.now() < Duration::from_secs(9), "{:?}", clock.now());
}

#[test]
fn a_pool_gives_memory_again_and_keeps_little() {
    run_ring(|world| async move {
        let first = world.buffer(128 << 10);
        let address = first.bytes().as_ptr();
        let shared = first.share(100);
        let other = world.buffer(128 << 10);
        assert_ne!(other.bytes().as_ptr(), address, "a reader holds it");
        drop(shared);
        let again = world.buffer(128 << 10);
        assert_eq!(again.bytes().as_ptr(), address);
        let many: Vec<_> = (0..40).map(|_| world.buffer(2 << 20)).collect();
        drop(many);
        assert!(world.kept_bytes() <= 16 << 20);
    })
    .unwrap();
}

#[test]
fn reads_use_the_memory_of_those_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    run_ring(|world| async move {
        let file = world.create(&path, 1 << 20, Fill::Written).await.unwrap();
        let first = file.read(0, 64 << 10).await.unwrap();
        let address = first.as_ptr();
        let second = file.read(64 << 10, 64 << 10).await.unwrap();
        assert_ne!(second.as_ptr(), address, "somebody looks at it");
        drop(first);
        let third = file.read(128 << 10, 64 << 10).await.unwrap();
        assert_eq!(third.as_ptr(), address);
        let at_the_end = file.read((1 << 20) - 4096, 64 << 10).await.unwrap();
        assert_eq!(
            at_the_end.len(),
            4096,
            "nothing of an earlier read is behind it"
        );
    })
    .unwrap();
}
