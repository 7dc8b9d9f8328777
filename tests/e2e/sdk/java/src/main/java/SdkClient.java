import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import com.google.gson.annotations.SerializedName;
import io.github.centrifugal.centrifuge.*;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Drives centrifuge-java by lines of JSON: see ../README.md. */
public class SdkClient {
    /** What is asked for. */
    static class Line {
        int id;
        String client = "", url = "", token = "", channel = "", method = "";
        String[] tokens;
        boolean recoverable, positioned, join_leave, reverse;
        JsonElement data;
        int limit;
        Since since;
        @SerializedName("do") String act;
    }

    static class Since {
        long offset;
        String epoch;
    }

    static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static final Map<String, SdkClient> CLIENTS = new HashMap<>();

    final String name;
    final Client client;

    static Map<String, Object> map(Object... pairs) {
        Map<String, Object> made = new LinkedHashMap<>();
        for (int at = 0; at < pairs.length; at += 2) made.put((String) pairs[at], pairs[at + 1]);
        return made;
    }

    static synchronized void say(Map<String, Object> said) {
        OUT.println(GSON.toJson(said));
    }

    void tell(String event, Object... more) {
        Map<String, Object> said = map("client", name, "event", event);
        said.putAll(map(more));
        say(said);
    }

    // Protobuf carries bytes, which are JSON in this product.

    static JsonElement value(byte[] data) {
        return data == null || data.length == 0
                ? null : JsonParser.parseString(new String(data, StandardCharsets.UTF_8));
    }

    static byte[] bytes(JsonElement data) {
        return GSON.toJson(data).getBytes(StandardCharsets.UTF_8);
    }

    static Object info(ClientInfo info) {
        boolean isNobody = info == null || info.getClient().isEmpty(); // as of what REST publishes
        return isNobody ? null : map(
                "client", info.getClient(), "user", info.getUser(),
                "conn_info", value(info.getConnInfo()), "chan_info", value(info.getChanInfo()));
    }

    /** The SDK keeps its position to itself. */
    static Object position(StreamPosition position) {
        if (position == null) return null;
        try {
            var offset = StreamPosition.class.getDeclaredMethod("getOffset");
            var epoch = StreamPosition.class.getDeclaredMethod("getEpoch");
            offset.setAccessible(true);
            epoch.setAccessible(true);
            return map("offset", offset.invoke(position), "epoch", epoch.invoke(position));
        } catch (ReflectiveOperationException failure) {
            throw new IllegalStateException(failure);
        }
    }

    static Map<String, Object> error(Throwable failure) {
        for (Throwable each = failure; each != null; each = each.getCause())
            if (each instanceof ReplyError)
                return map("code", ((ReplyError) each).getCode(), "message", each.getMessage());
        return map("code", -1, "message", String.valueOf(failure));
    }

    /** Gives out tokens in turn, the last one again and again; null is a failure to get one. */
    void give(Deque<String[]> left, String channel, TokenCallback callback) {
        tell("token", "channel", channel);
        String token = left.size() > 1 ? left.pop()[0] : left.peek()[0];
        callback.Done(token == null ? new IllegalStateException("no token now") : null, token);
    }

    static Deque<String[]> queue(String[] tokens) {
        Deque<String[]> left = new ArrayDeque<>(); // which holds no nulls
        for (String token : tokens) left.add(new String[] {token});
        return left;
    }

    SdkClient(Line asked) {
        name = asked.client;
        Options options = new Options();
        options.setToken(asked.token);
        options.setMinReconnectDelay(50);
        options.setMaxReconnectDelay(300);
        options.setMaxServerPingDelay(6000);
        if (asked.tokens != null) {
            Deque<String[]> left = queue(asked.tokens);
            options.setTokenGetter(new ConnectionTokenGetter() {
                @Override
                public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
                    give(left, null, callback);
                }
            });
        }
        String endpoint = asked.url.replaceFirst("http", "ws") + "/connection/websocket";
        client = new Client(endpoint, options, new ConnectionEvents());
    }

    class ConnectionEvents extends EventListener {
        @Override public void onConnecting(Client c, ConnectingEvent e) { tell("connecting", "code", e.getCode()); }

        @Override public void onConnected(Client c, ConnectedEvent e) { tell("connected", "id", e.getClient()); }

        @Override public void onDisconnected(Client c, DisconnectedEvent e) {
            tell("disconnected", "code", e.getCode(), "reason", e.getReason());
        }

        @Override public void onError(Client c, ErrorEvent e) {
            tell("error", "code", -1, "message", String.valueOf(e.getError()));
        }

        @Override public void onSubscribing(Client c, ServerSubscribingEvent e) {
            tell("subscribing", "channel", e.getChannel(), "server", true);
        }

        @Override public void onUnsubscribed(Client c, ServerUnsubscribedEvent e) {
            tell("unsubscribed", "channel", e.getChannel(), "server", true);
        }

        @Override public void onSubscribed(Client c, ServerSubscribedEvent e) {
            tell("subscribed", "channel", e.getChannel(), "server", true, "recoverable", e.getRecoverable(),
                    "was_recovering", e.wasRecovering(), "recovered", e.getRecovered(),
                    "position", position(e.getStreamPosition()), "data", value(e.getData()));
        }

        @Override public void onPublication(Client c, ServerPublicationEvent e) {
            tell("publication", "channel", e.getChannel(), "server", true, "data", value(e.getData()),
                    "offset", e.getOffset(), "tags", e.getTags(), "info", info(e.getInfo()));
        }

        @Override public void onJoin(Client c, ServerJoinEvent e) {
            tell("join", "channel", e.getChannel(), "server", true, "info", info(e.getInfo()));
        }

        @Override public void onLeave(Client c, ServerLeaveEvent e) {
            tell("leave", "channel", e.getChannel(), "server", true, "info", info(e.getInfo()));
        }
    }

    class ChannelEvents extends SubscriptionEventListener {
        void tellOf(Subscription s, String event, Object... more) {
            Map<String, Object> said = map("channel", s.getChannel(), "server", false);
            said.putAll(map(more));
            List<Object> pairs = new ArrayList<>();
            said.forEach((key, value) -> { pairs.add(key); pairs.add(value); });
            tell(event, pairs.toArray());
        }

        @Override public void onSubscribing(Subscription s, SubscribingEvent e) {
            tellOf(s, "subscribing", "code", e.getCode());
        }

        @Override public void onUnsubscribed(Subscription s, UnsubscribedEvent e) {
            tellOf(s, "unsubscribed", "code", e.getCode());
        }

        @Override public void onSubscribed(Subscription s, SubscribedEvent e) {
            tellOf(s, "subscribed", "recoverable", e.getRecoverable(), "was_recovering", e.wasRecovering(),
                    "recovered", e.getRecovered(), "position", position(e.getStreamPosition()),
                    "data", value(e.getData()));
        }

        @Override public void onPublication(Subscription s, PublicationEvent e) {
            tellOf(s, "publication", "data", value(e.getData()), "offset", e.getOffset(), "tags", e.getTags(),
                    "info", info(e.getInfo()));
        }

        @Override public void onJoin(Subscription s, JoinEvent e) { tellOf(s, "join", "info", info(e.getInfo())); }

        @Override public void onLeave(Subscription s, LeaveEvent e) { tellOf(s, "leave", "info", info(e.getInfo())); }

        @Override public void onError(Subscription s, SubscriptionErrorEvent e) {
            Map<String, Object> error = error(e.getError());
            tellOf(s, "error", "code", error.get("code"), "message", error.get("message"));
        }
    }

    void subscribe(Line asked) throws DuplicateSubscriptionException {
        SubscriptionOptions options = new SubscriptionOptions();
        options.setMinResubscribeDelay(50);
        options.setMaxResubscribeDelay(300);
        options.setPositioned(asked.positioned);
        options.setRecoverable(asked.recoverable);
        options.setJoinLeave(asked.join_leave);
        if (asked.tokens != null) {
            Deque<String[]> left = queue(asked.tokens);
            options.setTokenGetter(new SubscriptionTokenGetter() {
                @Override
                public void getSubscriptionToken(SubscriptionTokenEvent event, TokenCallback callback) {
                    give(left, asked.channel, callback);
                }
            });
        }
        client.newSubscription(asked.channel, options, new ChannelEvents()).subscribe();
    }

    /** Answer when the server has. */
    interface Answer { void with(Throwable failure, Object result); }

    void act(Line asked, Answer answer) throws DuplicateSubscriptionException {
        switch (asked.act) {
            case "publish":
                client.publish(asked.channel, bytes(asked.data), (failure, result) -> answer.with(failure, null));
                return;
            case "rpc":
                client.rpc(asked.method, bytes(asked.data), (failure, result) ->
                        answer.with(failure, result == null ? null : value(result.getData())));
                return;
            case "presence":
                client.presence(asked.channel, (failure, result) -> {
                    Map<String, Object> there = new LinkedHashMap<>();
                    if (result != null) result.getClients().forEach((id, info) -> there.put(id, info(info)));
                    answer.with(failure, there);
                });
                return;
            case "presence_stats":
                client.presenceStats(asked.channel, (failure, result) -> answer.with(failure, result == null ? null
                        : map("num_clients", result.getNumClients(), "num_users", result.getNumUsers())));
                return;
            case "history":
                history(asked, answer);
                return;
            case "connect": client.connect(); break;
            case "disconnect": client.disconnect(); break;
            case "subscribe": subscribe(asked); break;
            case "unsubscribe": client.getSubscription(asked.channel).unsubscribe(); break;
            case "resubscribe": client.getSubscription(asked.channel).subscribe(); break;
            default: throw new IllegalArgumentException(asked.act);
        }
        answer.with(null, null);
    }

    void history(Line asked, Answer answer) {
        HistoryOptions.Builder options = new HistoryOptions.Builder().withLimit(asked.limit).withReverse(asked.reverse);
        if (asked.since != null) options.withSince(new StreamPosition(asked.since.offset, asked.since.epoch));
        client.history(asked.channel, options.build(), (failure, result) -> {
            if (result == null) {
                answer.with(failure, null);
                return;
            }
            List<Object> publications = new ArrayList<>();
            for (Publication each : result.getPublications())
                publications.add(map("data", value(each.getData()), "offset", each.getOffset(),
                        "info", info(each.getInfo())));
            answer.with(failure,
                    map("publications", publications, "offset", result.getOffset(), "epoch", result.getEpoch()));
        });
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String text = input.readLine(); text != null; text = input.readLine()) {
            Line asked = GSON.fromJson(text, Line.class);
            Answer answer = (failure, result) ->
                    say(failure == null ? map("id", asked.id, "result", result)
                            : map("id", asked.id, "error", error(failure)));
            if (asked.act.equals("open")) {
                CLIENTS.put(asked.client, new SdkClient(asked));
                answer.with(null, null);
            } else {
                CLIENTS.get(asked.client).act(asked, answer);
            }
        }
        System.exit(0);
    }
}
