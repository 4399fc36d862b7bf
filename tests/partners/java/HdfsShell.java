import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.io.BytesWritable;
import org.apache.hadoop.io.SequenceFile;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.io.Writable;
import org.apache.hadoop.io.compress.CompressionCodec;
import org.apache.hadoop.io.compress.CompressionCodecFactory;

/**
 * A long-lived HDFS client that obeys commands on standard input, so that tests pay for one JVM. It is told where the cluster is by
 * {@code core-site.xml} and {@code hdfs-site.xml} on the class path.
 *
 * <pre>
 * ls PATH          one line per file below PATH: bytes path (nothing when PATH does not exist)
 * cat PATH         the file's bytes in Base64, one line per piece (none of an empty file)
 * text PATH        the same after the codec that the file's suffix names
 * seq PATH         a line with key class, value class and codec, then one per record: key value (value in Base64)
 * put PATH TEXT    writes a file
 * rm PATH          deletes, with all below
 * recover PATH     closes every file below PATH that its writer left open (HDFS's lease recovery)
 * </pre>
 *
 * Each reply ends with the line {@code END} or {@code ERR reason}.
 */
public final class HdfsShell {
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    /** Bytes of a file on one line. A file that grew while its target was away does not fit into this heap. */
    private static final int PIECE_BYTES = 768 * 1024;

    private static String text(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    public static void main(String[] args) throws Exception {
        Configuration conf = new Configuration();
        FileSystem fs = FileSystem.get(conf);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        OUT.println("READY");
        OUT.flush();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ", 3);
            try {
                run(conf, fs, words);
                OUT.println("END");
            } catch (Exception e) {
                OUT.println("ERR " + e.toString().replace('\n', ' '));
            }
            OUT.flush();
        }
    }

    private static void run(Configuration conf, FileSystem fs, String[] words) throws Exception {
        Path path = new Path(words[1]);
        switch (words[0]) {
            case "ls":
                if (!fs.exists(path)) {
                    break;
                }
                RemoteIterator<LocatedFileStatus> files = fs.listFiles(path, true);
                while (files.hasNext()) {
                    LocatedFileStatus file = files.next();
                    OUT.println(file.getLen() + " " + file.getPath().toUri().getPath());
                }
                break;
            case "cat":
                show(fs.open(path));
                break;
            case "text":
                CompressionCodec codec = new CompressionCodecFactory(conf).getCodec(path);
                InputStream raw = fs.open(path);
                show(codec == null ? raw : codec.createInputStream(raw));
                break;
            case "seq":
                sequence(conf, path);
                break;
            case "put":
                try (FSDataOutputStream out = fs.create(path, true)) {
                    out.write(words[2].getBytes(StandardCharsets.UTF_8));
                }
                break;
            case "rm":
                fs.delete(path, true);
                break;
            case "recover":
                recover((DistributedFileSystem) fs, path);
                break;
            default:
                throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private static void recover(DistributedFileSystem fs, Path path) throws Exception {
        long deadline = System.nanoTime() + 60_000_000_000L;
        RemoteIterator<LocatedFileStatus> files = fs.listFiles(path, true);
        while (files.hasNext()) {
            Path file = files.next().getPath();
            while (!fs.isFileClosed(file) && !fs.recoverLease(file)) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("the lease of " + file + " was not recovered within 60 s");
                }
                Thread.sleep(500);
            }
        }
    }

    private static void show(InputStream in) throws Exception {
        try (in) {
            for (byte[] piece = in.readNBytes(PIECE_BYTES); piece.length > 0; piece = in.readNBytes(PIECE_BYTES)) {
                OUT.println(text(piece));
            }
        }
    }

    private static void sequence(Configuration conf, Path path) throws Exception {
        try (SequenceFile.Reader reader = new SequenceFile.Reader(conf, SequenceFile.Reader.file(path))) {
            CompressionCodec codec = reader.getCompressionCodec();
            OUT.println(reader.getKeyClassName() + " " + reader.getValueClassName() + " " + reader.getCompressionType() + " "
                    + (codec == null ? "-" : codec.getClass().getName()));
            Writable key = (Writable) reader.getKeyClass().getDeclaredConstructor().newInstance();
            Writable value = (Writable) reader.getValueClass().getDeclaredConstructor().newInstance();
            while (reader.next(key, value)) {
                byte[] bytes = value instanceof BytesWritable ? ((BytesWritable) value).copyBytes() : ((Text) value).copyBytes();
                OUT.println(key + " " + text(bytes));
            }
        }
    }
}
