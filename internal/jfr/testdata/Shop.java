import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import jdk.jfr.Event;
import jdk.jfr.Name;

/** Does a bit of everything that a recording keeps strings of. */
public class Shop {
    @Name("shop.Login")
    static class Login extends Event {
        String user;
        String password;
        String note;
        int attempt;
    }

    @Name("shop.Setting")
    static class Setting extends Event {
        String key;
        String value;
    }

    public static void main(String[] args) throws Exception {
        int rounds = Integer.parseInt(args[0]);
        Object lock = new Object();
        List<byte[]> kept = new ArrayList<>();
        for (int i = 0; i < rounds; i++) {
            Login e = new Login();
            e.user = "fatima" + i % 7 + "@mail.example.org";
            // long enough, and often enough, for the pool of strings
            e.password = "correct-horse-battery-staple-4711";
            e.note = i % 2 == 0 ? "\u0416\u0443\u043a dmitri@pochta.example.ru" : "caf\u00e9 zo\u00eb@mail.example.fr";
            e.attempt = i;
            e.commit();
            Setting s = new Setting();
            s.key = "DB_PASSWORD";
            s.value = "hunter2-hunter2-hunter2-hunter2";
            s.commit();
            kept.add(new byte[20_000]);
            if (kept.size() > 50) kept.clear();
            try {
                Integer.parseInt("card 4111111111111111");
            } catch (NumberFormatException x) {
                // its message is in the recording where exceptions are
            }
        }
        Thread t = new Thread(() -> {
            synchronized (lock) {
                try { Thread.sleep(30); } catch (InterruptedException x) { }
            }
        }, "mail to ann@mail.example.org");
        t.start();
        Thread.sleep(5);
        synchronized (lock) { }
        t.join();
        try (var in = new java.io.FileInputStream(args[1])) {
            in.readAllBytes();
        }
    }
}
