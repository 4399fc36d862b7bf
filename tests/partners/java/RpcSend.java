import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.zip.CRC32C;
import org.apache.flume.Event;
import org.apache.flume.EventDeliveryException;
import org.apache.flume.api.RpcClient;
import org.apache.flume.api.RpcClientFactory;
import org.apache.flume.event.EventBuilder;

/**
 * Sends events that carry their own identity through the RPC client of whichever Flume SDK is on the class path, and prints what
 * became of each batch, so that an oracle knows which events were acknowledged.
 *
 * <p>Arguments: {@code host port prefix connections count batch bodyBytes compression retrySeconds}. {@code compression} is
 * {@code none} or {@code deflate}; {@code batch} 0 sends with {@code append}, one event a call. Each connection is a thread and
 * sends {@code count} events numbered from 0.
 *
 * <p>An event's body is {@code prefix-connection-number|filler|crc}, where crc is the CRC32C, eight hex digits, of all before the
 * last bar; its header {@code id} repeats {@code prefix-connection-number}, its header {@code host} is constant.
 *
 * <p>Prints {@code ACK connection first last} or {@code NACK connection first last reason} per batch. A refused batch is sent again
 * until {@code retrySeconds} have gone by since the start, then given up. The last line is {@code END acked refused}.
 */
public final class RpcSend {
    private static int acked;
    private static int refused;

    private static synchronized void print(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static synchronized void count(boolean ok, int events) {
        if (ok) {
            acked += events;
        } else {
            refused += events;
        }
    }

    static Event event(String prefix, int connection, int number, int bodyBytes) {
        String id = prefix + "-" + connection + "-" + number;
        StringBuilder text = new StringBuilder(id).append('|');
        while (text.length() < bodyBytes - 9) {
            text.append((char) ('a' + (text.length() + number) % 26));
        }
        CRC32C crc = new CRC32C();
        crc.update(text.toString().getBytes(StandardCharsets.US_ASCII));
        text.append('|').append(String.format("%08x", crc.getValue()));
        Map<String, String> headers = new HashMap<>();
        headers.put("id", id);
        headers.put("host", "sender");
        return EventBuilder.withBody(text.toString().getBytes(StandardCharsets.US_ASCII), headers);
    }

    public static void main(String[] args) throws Exception {
        String prefix = args[2];
        int connections = Integer.parseInt(args[3]);
        int total = Integer.parseInt(args[4]);
        int batch = Integer.parseInt(args[5]);
        int bodyBytes = Integer.parseInt(args[6]);
        long deadline = System.nanoTime() + Long.parseLong(args[8]) * 1_000_000_000L;
        Properties settings = new Properties();
        settings.setProperty("client.type", "default");
        settings.setProperty("hosts", "h1");
        settings.setProperty("hosts.h1", args[0] + ":" + args[1]);
        settings.setProperty("batch-size", Integer.toString(Math.max(batch, 1)));
        settings.setProperty("compression-type", args[7]);

        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < connections; i++) {
            int connection = i;
            Thread thread = new Thread(() -> {
                try {
                    send(settings, prefix, connection, total, batch, bodyBytes, deadline);
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        print("END " + acked + " " + refused);
        System.exit(0); // Netty 3 keeps threads of its own
    }

    private static void send(Properties settings, String prefix, int connection, int total, int batch, int bodyBytes, long deadline)
            throws InterruptedException {
        RpcClient client = null;
        int step = Math.max(batch, 1);
        for (int first = 0; first < total; first += step) {
            int last = Math.min(first + step, total) - 1;
            List<Event> events = new ArrayList<>();
            for (int number = first; number <= last; number++) {
                events.add(event(prefix, connection, number, bodyBytes));
            }
            while (true) {
                try {
                    if (client == null) {
                        client = RpcClientFactory.getInstance(settings);
                    }
                    if (batch == 0) {
                        client.append(events.get(0));
                    } else {
                        client.appendBatch(events);
                    }
                    print("ACK " + connection + " " + first + " " + last);
                    count(true, events.size());
                    break;
                } catch (EventDeliveryException | RuntimeException e) {
                    Throwable cause = e;
                    while (cause.getCause() != null) {
                        cause = cause.getCause();
                    }
                    print("NACK " + connection + " " + first + " " + last + " " + e + " <- " + cause);
                    if (client != null) {
                        try {
                            client.close();
                        } catch (RuntimeException ignored) {
                            // a dead client may refuse to close twice
                        }
                        client = null;
                    }
                    if (System.nanoTime() > deadline) {
                        count(false, events.size());
                        break;
                    }
                    Thread.sleep(200);
                }
            }
        }
        if (client != null) {
            client.close();
        }
    }
}
