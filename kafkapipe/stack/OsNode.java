/*
 * One OpenSearch node in this JVM, made from the published jars alone. Arguments are settings, KEY=VALUE each.
 *
 * OpenSearch's own main class wants the layout of a release and its Java agent. This one makes the same Node with the
 * plugins that are on the class path: HTTP over Netty and the common ingest processors. The REST layer, the bulk path,
 * the index engine and the thread pools are the real ones; bootstrap checks and security are not there.
 */
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.opensearch.Version;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.ingest.common.IngestCommonModulePlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.PluginInfo;
import org.opensearch.transport.Netty4ModulePlugin;

public final class OsNode extends Node {
    private OsNode(Environment env, Collection<PluginInfo> plugins) {
        super(env, plugins, true);
    }

    private static PluginInfo plugin(Class<?> type) {
        String name = type.getName();
        return new PluginInfo(name, "on the class path", "NA", Version.CURRENT, "21", name, null, List.of(), false);
    }

    private static Settings parse(String[] args) {
        Settings.Builder settings = Settings.builder();
        for (String arg : args) {
            int equals = arg.indexOf('=');
            settings.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        return settings.build();
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (Exception error) {
            error.printStackTrace();
        }
    }

    public static void main(String[] args) throws Exception {
        Settings settings = parse(args);
        LogConfigurator.setNodeName(settings.get("node.name"));
        LogConfigurator.configureWithoutConfig(settings);
        Environment env = InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "unnamed");
        Node node = new OsNode(env, List.of(plugin(Netty4ModulePlugin.class), plugin(IngestCommonModulePlugin.class)));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        node.start();
        new CountDownLatch(1).await();
    }
}
