import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A long-lived Kafka client that obeys commands on standard input, so that tests pay for one JVM. Argument: the bootstrap servers.
 *
 * <pre>
 * create TOPIC PARTITIONS      makes a topic
 * produce TOPIC TEXT           one record
 * count TOPIC                  one line: records in the topic, all partitions
 * dump TOPIC [FROM]            one line per record: partition offset timestamp key headers value; of each partition from offset FROM on
 * </pre>
 *
 * {@code dump} reads to the ends as they stood when it began. key, value and header values are Base64, {@code -} when null; headers are
 * {@code name=value} joined by commas, {@code -} when there are none. Each reply ends with the line {@code END} or {@code ERR reason}.
 */
public final class KafkaShell {
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    private static String text(byte[] bytes) {
        return bytes == null ? "-" : Base64.getEncoder().encodeToString(bytes);
    }

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("default.api.timeout.ms", "20000");
        settings.put("request.timeout.ms", "15000");
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("key.serializer", ByteArraySerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        OUT.println("READY");
        OUT.flush();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ", 3);
            try {
                run(settings, words);
                OUT.println("END");
            } catch (Exception e) {
                OUT.println("ERR " + e.toString().replace('\n', ' '));
            }
            OUT.flush();
        }
    }

    private static void run(Properties settings, String[] words) throws Exception {
        switch (words[0]) {
            case "create":
                try (Admin admin = Admin.create(settings)) {
                    admin.createTopics(List.of(new NewTopic(words[1], Integer.parseInt(words[2]), (short) 1))).all().get();
                }
                break;
            case "produce":
                try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
                    producer.send(new ProducerRecord<>(words[1], words[2].getBytes(StandardCharsets.UTF_8))).get();
                }
                break;
            case "count":
            case "dump":
                read(settings, words[1], words[0].equals("dump"), words.length > 2 ? Long.parseLong(words[2]) : 0);
                break;
            default:
                throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private static void read(Properties settings, String topic, boolean dump, long from) {
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            if (!dump) {
                long records = 0;
                Map<TopicPartition, Long> begins = consumer.beginningOffsets(partitions);
                for (TopicPartition partition : partitions) {
                    records += ends.get(partition) - begins.get(partition);
                }
                OUT.println(records);
                return;
            }
            consumer.assign(partitions);
            partitions.forEach(partition -> consumer.seek(partition, Math.min(from, ends.get(partition))));
            long deadline = System.nanoTime() + 60_000_000_000L;
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("the end of " + topic + " was not reached within 60 s");
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    print(record);
                }
            }
        }
    }

    private static void print(ConsumerRecord<byte[], byte[]> record) {
        StringBuilder headers = new StringBuilder();
        for (Header header : record.headers()) {
            headers.append(headers.length() == 0 ? "" : ",").append(header.key()).append('=').append(text(header.value()));
        }
        OUT.println(record.partition() + " " + record.offset() + " " + record.timestamp() + " " + text(record.key()) + " "
                + (headers.length() == 0 ? "-" : headers) + " " + text(record.value()));
    }
}
