// Drives centrifuge-go by lines of JSON: see ../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

type object = map[string]any

// line is what is asked for.
type line struct {
	ID          int
	Client      string
	Do          string
	URL         string
	Transport   string
	Token       string
	Tokens      []*string
	Channel     string
	Delta       string
	Recoverable bool
	Positioned  bool
	JoinLeave   bool `json:"join_leave"`
	Data        json.RawMessage
	Method      string
	Limit       int32
	Since       *centrifuge.StreamPosition
	Reverse     bool
}

// driven is a client, and what waits for its server's answer: one call after the other.
type driven struct {
	*centrifuge.Client
	calls chan func()
}

var (
	output  = json.NewEncoder(os.Stdout)
	writing sync.Mutex
	clients = map[string]driven{}
)

func say(said object) {
	writing.Lock()
	defer writing.Unlock()
	if err := output.Encode(said); err != nil {
		os.Exit(1)
	}
}

// raw passes JSON on as it is; what is not there is null.
func raw(data []byte) any {
	if len(data) == 0 {
		return nil
	}
	return json.RawMessage(data)
}

func infoOf(info *centrifuge.ClientInfo) any {
	if info == nil {
		return nil
	}
	return object{"client": info.Client, "user": info.User, "conn_info": raw(info.ConnInfo), "chan_info": raw(info.ChanInfo)}
}

func publicationOf(publication centrifuge.Publication) object {
	return object{
		"data": raw(publication.Data), "offset": publication.Offset,
		"tags": publication.Tags, "info": infoOf(publication.Info),
	}
}

func positionOf(position *centrifuge.StreamPosition) any {
	if position == nil {
		return nil
	}
	return object{"offset": position.Offset, "epoch": position.Epoch}
}

func errorOf(err error) object {
	code := -1
	var refused *centrifuge.Error
	if errors.As(err, &refused) {
		code = int(refused.Code)
	}
	return object{"code": code, "message": err.Error()}
}

// giver gives out tokens in turn, the last one again and again; null is a failure to get one.
func giver(client string, tokens []*string, channel any) func() (string, error) {
	var lock sync.Mutex
	return func() (string, error) {
		lock.Lock()
		defer lock.Unlock()
		say(object{"client": client, "event": "token", "channel": channel})
		token := tokens[0]
		if len(tokens) > 1 {
			tokens = tokens[1:]
		}
		if token == nil {
			return "", errors.New("no token now")
		}
		return *token, nil
	}
}

func open(asked line) {
	name := asked.Client
	config := centrifuge.Config{
		Token: asked.Token, MinReconnectDelay: 50 * time.Millisecond, MaxReconnectDelay: 300 * time.Millisecond,
		MaxServerPingDelay: 6 * time.Second, HandshakeTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
	}
	if asked.Tokens != nil {
		give := giver(name, asked.Tokens, nil)
		config.GetToken = func(centrifuge.ConnectionTokenEvent) (string, error) { return give() }
	}
	endpoint := strings.Replace(asked.URL, "http", "ws", 1) + "/connection/websocket"
	var client *centrifuge.Client
	if asked.Transport == "protobuf" {
		client = centrifuge.NewProtobufClient(endpoint, config)
	} else {
		client = centrifuge.NewJsonClient(endpoint, config)
	}
	client.OnConnecting(func(e centrifuge.ConnectingEvent) {
		say(object{"client": name, "event": "connecting", "code": e.Code})
	})
	client.OnConnected(func(e centrifuge.ConnectedEvent) {
		say(object{"client": name, "event": "connected", "id": e.ClientID})
	})
	client.OnDisconnected(func(e centrifuge.DisconnectedEvent) {
		say(object{"client": name, "event": "disconnected", "code": e.Code, "reason": e.Reason})
	})
	client.OnError(func(e centrifuge.ErrorEvent) {
		say(object{"client": name, "event": "error", "code": -1, "message": e.Error.Error()})
	})
	tell := func(event, channel string, more object) {
		more["client"], more["event"], more["channel"], more["server"] = name, event, channel, true
		say(more)
	}
	client.OnSubscribing(func(e centrifuge.ServerSubscribingEvent) { tell("subscribing", e.Channel, object{}) })
	client.OnUnsubscribed(func(e centrifuge.ServerUnsubscribedEvent) { tell("unsubscribed", e.Channel, object{}) })
	client.OnSubscribed(func(e centrifuge.ServerSubscribedEvent) {
		tell("subscribed", e.Channel, object{
			"recoverable": e.Recoverable, "was_recovering": e.WasRecovering, "recovered": e.Recovered,
			"position": positionOf(e.StreamPosition), "data": raw(e.Data),
		})
	})
	client.OnPublication(func(e centrifuge.ServerPublicationEvent) {
		tell("publication", e.Channel, publicationOf(e.Publication))
	})
	client.OnJoin(func(e centrifuge.ServerJoinEvent) { tell("join", e.Channel, object{"info": infoOf(&e.ClientInfo)}) })
	client.OnLeave(func(e centrifuge.ServerLeaveEvent) { tell("leave", e.Channel, object{"info": infoOf(&e.ClientInfo)}) })
	made := driven{client, make(chan func(), 1024)}
	clients[name] = made
	go func() {
		for call := range made.calls {
			call()
		}
	}()
}

func subscribe(client *centrifuge.Client, asked line) error {
	config := centrifuge.SubscriptionConfig{
		Positioned: asked.Positioned, Recoverable: asked.Recoverable, JoinLeave: asked.JoinLeave,
		Delta:               centrifuge.DeltaType(asked.Delta),
		MinResubscribeDelay: 50 * time.Millisecond, MaxResubscribeDelay: 300 * time.Millisecond,
	}
	if asked.Tokens != nil {
		give := giver(asked.Client, asked.Tokens, asked.Channel)
		config.GetToken = func(centrifuge.SubscriptionTokenEvent) (string, error) { return give() }
	}
	subscription, err := client.NewSubscription(asked.Channel, config)
	if err != nil {
		return err
	}
	tell := func(event string, more object) {
		more["client"], more["event"], more["channel"], more["server"] = asked.Client, event, asked.Channel, false
		say(more)
	}
	subscription.OnSubscribing(func(e centrifuge.SubscribingEvent) { tell("subscribing", object{"code": e.Code}) })
	subscription.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) { tell("unsubscribed", object{"code": e.Code}) })
	subscription.OnSubscribed(func(e centrifuge.SubscribedEvent) {
		tell("subscribed", object{
			"recoverable": e.Recoverable, "was_recovering": e.WasRecovering, "recovered": e.Recovered,
			"position": positionOf(e.StreamPosition), "data": raw(e.Data),
		})
	})
	subscription.OnPublication(func(e centrifuge.PublicationEvent) { tell("publication", publicationOf(e.Publication)) })
	subscription.OnJoin(func(e centrifuge.JoinEvent) { tell("join", object{"info": infoOf(&e.ClientInfo)}) })
	subscription.OnLeave(func(e centrifuge.LeaveEvent) { tell("leave", object{"info": infoOf(&e.ClientInfo)}) })
	subscription.OnError(func(e centrifuge.SubscriptionErrorEvent) { tell("error", errorOf(e.Error)) })
	return subscription.Subscribe()
}

func act(client *centrifuge.Client, asked line) (any, error) {
	subscription, _ := client.GetSubscription(asked.Channel)
	wait, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch asked.Do {
	case "connect":
		return nil, client.Connect()
	case "disconnect":
		return nil, client.Disconnect()
	case "subscribe":
		return nil, subscribe(client, asked)
	case "unsubscribe":
		return nil, subscription.Unsubscribe()
	case "resubscribe":
		return nil, subscription.Subscribe()
	case "publish":
		_, err := client.Publish(wait, asked.Channel, asked.Data)
		return nil, err
	case "rpc":
		result, err := client.RPC(wait, asked.Method, asked.Data)
		return raw(result.Data), err
	case "presence":
		result, err := client.Presence(wait, asked.Channel)
		there := object{}
		for id, info := range result.Clients {
			there[id] = infoOf(&info)
		}
		return there, err
	case "presence_stats":
		result, err := client.PresenceStats(wait, asked.Channel)
		return object{"num_clients": result.NumClients, "num_users": result.NumUsers}, err
	case "history":
		result, err := client.History(
			wait, asked.Channel, centrifuge.WithHistoryLimit(asked.Limit),
			centrifuge.WithHistorySince(asked.Since), centrifuge.WithHistoryReverse(asked.Reverse),
		)
		publications := []object{}
		for _, publication := range result.Publications {
			publications = append(publications, publicationOf(publication))
		}
		return object{"publications": publications, "offset": result.Offset, "epoch": result.Epoch}, err
	}
	return nil, errors.New("cannot do " + asked.Do)
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<24)
	for input.Scan() {
		var asked line
		if err := json.Unmarshal(input.Bytes(), &asked); err != nil {
			panic(err)
		}
		if asked.Do == "open" {
			open(asked)
			say(object{"id": asked.ID})
			continue
		}
		client := clients[asked.Client]
		answer := func() {
			result, err := act(client.Client, asked)
			if err != nil {
				say(object{"id": asked.ID, "error": errorOf(err)})
			} else {
				say(object{"id": asked.ID, "result": result})
			}
		}
		switch asked.Do {
		case "publish", "rpc", "presence", "presence_stats", "history":
			client.calls <- answer
		default:
			answer()
		}
	}
}
