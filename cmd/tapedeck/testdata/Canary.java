import java.nio.file.Files;
import java.nio.file.Path;
import jdk.jfr.Event;
import jdk.jfr.Name;

/** Puts every record of a file into events, exceptions and names of threads. */
public class Canary {
    @Name("shop.Seen")
    static class Seen extends Event {
        String text;
    }

    public static void main(String[] args) throws Exception {
        for (int round = 0; round < 3; round++) {
            for (String line : Files.readString(Path.of(args[0])).split("\u001e")) {
                Seen e = new Seen();
                e.text = line;
                e.commit();
                try {
                    throw new IllegalStateException(line);
                } catch (IllegalStateException x) {
                    // it is in the recording
                }
                if (round == 0) {
                    Thread t = new Thread(() -> { }, line);
                    t.start();
                    t.join();
                }
            }
        }
    }
}
