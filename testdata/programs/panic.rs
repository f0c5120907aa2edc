// Four threads add up slices; the one with the bad slice panics (its message is
// on stderr), and main leaves with exit code 101 when it joins it.
use std::sync::mpsc;
use std::thread;

fn sum(numbers: &[u32]) -> u32 {
    numbers.iter().fold(0, |a, n| a.checked_add(*n).expect("the sum does not fit"))
}

fn main() {
    let (send, receive) = mpsc::channel();
    let workers: Vec<_> = (0..4u32)
        .map(|id| {
            let send = send.clone();
            let numbers = if id == 2 { vec![u32::MAX, 1] } else { vec![id; 100] };
            thread::spawn(move || send.send(sum(&numbers)).unwrap())
        })
        .collect();
    drop(send);
    println!("{} sums arrived", receive.iter().count());
    for w in workers {
        w.join().unwrap();
    }
}
