// Four threads count orders without a lock; the total is often short (exit
// code 7), and always differs in its random number and time.
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;

public class Threads {
    static int orders;

    static void take(int n) {
        for (int i = 0; i < n; i++) {
            orders++;
        }
    }

    public static void main(String[] args) throws InterruptedException {
        int each = args.length > 0 ? Integer.parseInt(args[0]) : 100_000;
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            Thread t = new Thread(() -> take(each), "taker-" + i);
            t.start();
            threads.add(t);
        }
        for (Thread t : threads) {
            t.join();
        }
        System.out.println("orders=" + orders + " random=" + ThreadLocalRandom.current().nextInt()
                + " time=" + System.currentTimeMillis());
        System.exit(orders == 4 * each ? 0 : 7);
    }
}
