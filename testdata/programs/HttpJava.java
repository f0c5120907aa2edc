import java.net.URI;
import java.net.http.*;
import java.util.UUID;

/** java HttpJava URL: what httpgo does, with the JDK's client. */
public class HttpJava {
	static HttpClient client;

	static void ask(String url, String body) throws Exception {
		HttpRequest.Builder b = HttpRequest.newBuilder(URI.create(url));
		if (body != null)
			b.header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body));
		HttpResponse<String> r = client.send(b.build(), HttpResponse.BodyHandlers.ofString());
		System.out.println(r.version() + " " + r.statusCode() + " " + r.body().trim());
	}

	public static void main(String[] args) throws Exception {
		UUID first = UUID.randomUUID(), second = UUID.randomUUID(); // before TLS, whose threads draw too
		client = HttpClient.newHttpClient();
		System.out.println("uuid " + first);
		ask(args[0] + "/now", null);
		ask(args[0] + "/echo", "{\"id\":\"" + second + "\",\"customer\":\"ada@example.com\"}");
		for (int i = 0; i < 3; i++)
			ask(args[0] + "/item/" + i, null);
	}
}
