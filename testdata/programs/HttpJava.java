import java.net.URI;
import java.net.http.*;
import java.util.UUID;

/** java HttpJava URL: what httpgo does, with the JDK's client. */
public class HttpJava {
	static final HttpClient client = HttpClient.newHttpClient();

	static void ask(String url, String body) throws Exception {
		HttpRequest.Builder b = HttpRequest.newBuilder(URI.create(url));
		if (body != null)
			b.header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body));
		HttpResponse<String> r = client.send(b.build(), HttpResponse.BodyHandlers.ofString());
		System.out.println(r.version() + " " + r.statusCode() + " " + r.body().trim());
	}

	public static void main(String[] args) throws Exception {
		System.out.println("uuid " + UUID.randomUUID());
		ask(args[0] + "/now", null);
		ask(args[0] + "/echo", "{\"id\":\"" + UUID.randomUUID() + "\",\"customer\":\"ada@example.com\"}");
		for (int i = 0; i < 3; i++)
			ask(args[0] + "/item/" + i, null);
	}
}
