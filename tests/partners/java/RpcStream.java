import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.CRC32C;
import org.apache.flume.Event;
import org.apache.flume.EventDeliveryException;
import org.apache.flume.api.RpcClient;
import org.apache.flume.api.RpcClientFactory;
import org.apache.flume.event.EventBuilder;

/**
 * A long-lived sender through the RPC client of whichever Flume SDK is on the class path. It obeys commands on standard input, so that
 * a test that kills a collector hundreds of times pays for one JVM. Arguments: one or more {@code host:port}.
 *
 * <pre>
 * start TYPE PREFIX CONNECTIONS BATCH BODYBYTES COMPRESSION RESTMILLIS     begins to send
 * acked        one line: events acknowledged since the start
 * stop         ends; one line per batch: ACK|SENT connection first last crc,crc,...   and then: REFUSED attempts
 * </pre>
 *
 * TYPE is the SDK's {@code client.type}: {@code default}, {@code default_failover}, {@code default_loadbalance}. Each connection is a
 * thread that repeats a batch until it is acknowledged, with a new client after each refusal, as Flume's Avro sink does; ACK batches
 * were answered, the last of a connection may be SENT only. Events are as those of {@code RpcSend}. Each reply ends with {@code END} or
 * {@code ERR reason}.
 */
public final class RpcStream {
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    private static final AtomicLong ACKED = new AtomicLong();
    private static final AtomicLong REFUSED = new AtomicLong();
    private static volatile boolean stopping;

    /** One connection's thread and what it was told. */
    private static final class Sender extends Thread {
        private final Properties settings;
        private final String prefix;
        private final int connection;
        private final int batch;
        private final int bodyBytes;
        private final long restMillis;
        private final List<String> told = new ArrayList<>();

        Sender(Properties settings, String prefix, int connection, int batch, int bodyBytes, long restMillis) {
            this.settings = settings;
            this.prefix = prefix;
            this.connection = connection;
            this.batch = batch;
            this.bodyBytes = bodyBytes;
            this.restMillis = restMillis;
        }

        @Override
        public void run() {
            RpcClient client = null;
            for (int first = 0; !stopping; first += batch) {
                List<Event> events = new ArrayList<>();
                StringBuilder what = new StringBuilder().append(connection).append(' ').append(first).append(' ').append(first + batch - 1);
                for (int number = first; number < first + batch; number++) {
                    what.append(number == first ? ' ' : ',').append(event(prefix, connection, number, bodyBytes, events));
                }
                boolean acknowledged = false;
                while (!acknowledged && !stopping) {
                    try {
                        if (client == null) {
                            client = RpcClientFactory.getInstance(settings);
                        }
                        client.appendBatch(events);
                        acknowledged = true;
                        pause(restMillis);
                    } catch (EventDeliveryException | RuntimeException e) {
                        REFUSED.incrementAndGet();
                        close(client);
                        client = null;
                        pause(30);
                    }
                }
                told.add((acknowledged ? "ACK " : "SENT ") + what);
                ACKED.addAndGet(acknowledged ? batch : 0);
            }
            close(client);
        }
    }

    private static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void close(RpcClient client) {
        if (client != null) {
            try {
                client.close();
            } catch (RuntimeException ignored) {
                // a dead client may refuse to close twice
            }
        }
    }

    /** Adds the event and returns the checksum of its content. */
    private static String event(String prefix, int connection, int number, int bodyBytes, List<Event> events) {
        String id = prefix + "-" + connection + "-" + number;
        StringBuilder text = new StringBuilder(id).append('|');
        while (text.length() < bodyBytes - 9) {
            text.append((char) ('a' + (text.length() + number) % 26));
        }
        CRC32C crc = new CRC32C();
        crc.update(text.toString().getBytes(StandardCharsets.US_ASCII));
        String checksum = String.format("%08x", crc.getValue());
        text.append('|').append(checksum);
        Map<String, String> headers = new HashMap<>();
        headers.put("id", id);
        headers.put("host", "sender");
        events.add(EventBuilder.withBody(text.toString().getBytes(StandardCharsets.US_ASCII), headers));
        return checksum;
    }

    public static void main(String[] args) throws Exception {
        System.setOut(System.err); // what the SDK and its logging print is no reply
        List<Sender> senders = new ArrayList<>();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        OUT.println("READY");
        OUT.flush();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            try {
                switch (words[0]) {
                    case "start":
                        start(senders, args, words);
                        break;
                    case "acked":
                        OUT.println(ACKED.get());
                        break;
                    case "stop":
                        stop(senders);
                        break;
                    default:
                        throw new IllegalArgumentException("unknown command " + words[0]);
                }
                OUT.println("END");
            } catch (Exception e) {
                OUT.println("ERR " + e.toString().replace('\n', ' '));
            }
            OUT.flush();
        }
        System.exit(0); // Netty 3 keeps threads of its own
    }

    private static void start(List<Sender> senders, String[] hosts, String[] words) {
        Properties settings = new Properties();
        settings.setProperty("client.type", words[1]);
        StringBuilder names = new StringBuilder();
        for (int i = 0; i < hosts.length; i++) {
            names.append(i == 0 ? "" : " ").append('h').append(i);
            settings.setProperty("hosts.h" + i, hosts[i]);
        }
        settings.setProperty("hosts", names.toString());
        settings.setProperty("batch-size", words[4]);
        settings.setProperty("compression-type", words[6]);
        stopping = false;
        ACKED.set(0);
        REFUSED.set(0);
        for (int i = 0; i < Integer.parseInt(words[3]); i++) {
            Sender sender = new Sender(settings, words[2], i, Integer.parseInt(words[4]), Integer.parseInt(words[5]),
                    Long.parseLong(words[7]));
            sender.start();
            senders.add(sender);
        }
    }

    private static void stop(List<Sender> senders) throws InterruptedException {
        stopping = true;
        for (Sender sender : senders) {
            sender.join();
            sender.told.forEach(OUT::println);
        }
        senders.clear();
        OUT.println("REFUSED " + REFUSED.get());
    }
}
