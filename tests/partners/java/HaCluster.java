import java.io.BufferedReader;
import java.io.File;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;

/**
 * An HDFS name service {@code mycluster} of two NameNodes and two DataNodes in one JVM, failed over on command.
 *
 * <p>Arguments: the data folder, the folder for the client's {@code core-site.xml} and {@code hdfs-site.xml}. Prints {@code READY} when
 * NameNode 0 is active. Commands on standard input, each answered by {@code END} or {@code ERR reason}:
 *
 * <pre>
 * activate N       the other NameNode goes to standby, then N becomes active
 * standby N        N goes to standby and nobody is active
 * crash N          N is shut down
 * restart N        N comes back, as standby
 * stopDataNode N   DataNode N is shut down
 * </pre>
 */
public final class HaCluster {
    public static void main(String[] args) throws Exception {
        Configuration conf = new Configuration();
        conf.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, args[0]);
        conf.setInt("dfs.replication", 2);
        conf.setInt("dfs.ha.tail-edits.period", 1);
        conf.setInt("dfs.ha.log-roll.period", 2);
        conf.setBoolean("dfs.client.block.write.replace-datanode-on-failure.enable", false);
        MiniDFSNNTopology topology = new MiniDFSNNTopology().addNameservice(new MiniDFSNNTopology.NSConf("mycluster")
                .addNN(new MiniDFSNNTopology.NNConf("nn1"))
                .addNN(new MiniDFSNNTopology.NNConf("nn2")));
        MiniDFSCluster cluster = new MiniDFSCluster.Builder(conf).nnTopology(topology).numDataNodes(2).build();
        cluster.waitActive();
        cluster.transitionToActive(0);
        writeClientConf(cluster, new File(args[1]));
        System.out.println("READY");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.trim().split(" ");
            try {
                run(cluster, words[0], Integer.parseInt(words[1]));
                System.out.println("END");
            } catch (Exception e) {
                System.out.println("ERR " + e.toString().replace('\n', ' '));
            }
            System.out.flush();
        }
        System.exit(0);
    }

    private static void run(MiniDFSCluster cluster, String command, int n) throws Exception {
        switch (command) {
            case "activate":
                if (cluster.isNameNodeUp(1 - n)) {
                    cluster.transitionToStandby(1 - n);
                }
                cluster.transitionToActive(n);
                break;
            case "standby":
                cluster.transitionToStandby(n);
                break;
            case "crash":
                cluster.shutdownNameNode(n);
                break;
            case "restart":
                cluster.restartNameNode(n);
                break;
            case "stopDataNode":
                cluster.stopDataNode(n);
                break;
            default:
                throw new IllegalArgumentException("unknown command " + command);
        }
    }

    private static void writeClientConf(MiniDFSCluster cluster, File folder) throws Exception {
        Configuration core = new Configuration(false);
        core.set("fs.defaultFS", "hdfs://mycluster");
        Configuration hdfs = new Configuration(false);
        hdfs.set("dfs.nameservices", "mycluster");
        hdfs.set("dfs.ha.namenodes.mycluster", "nn1,nn2");
        for (int i = 0; i < 2; i++) {
            hdfs.set("dfs.namenode.rpc-address.mycluster.nn" + (i + 1), "127.0.0.1:" + cluster.getNameNodePort(i));
        }
        hdfs.set("dfs.client.failover.proxy.provider.mycluster",
                "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider");
        hdfs.set("dfs.replication", "2");
        hdfs.set("dfs.client.block.write.replace-datanode-on-failure.enable", "false");
        try (OutputStream out = new FileOutputStream(new File(folder, "core-site.xml"))) {
            core.writeXml(out);
        }
        try (OutputStream out = new FileOutputStream(new File(folder, "hdfs-site.xml"))) {
            hdfs.writeXml(out);
        }
    }
}
