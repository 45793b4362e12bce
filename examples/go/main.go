// A client of NATS over gRPC; README.md says how to run it. The exit code is 1 if a response is not as expected.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "narun.example/client/natspb"
)

// How long the whole run may take.
const limit = 2 * time.Minute

// A client of one user. Names end with a number, so that leftovers of another run do not matter.
type client struct {
	pb.NATSServiceClient
	user string
	run  string
}

func main() {
	server := flag.String("server", "127.0.0.1:50056", "host and port")
	user := flag.String("user", "go-example", "the user")
	token := flag.String("token", "", "the user's token, if the server authenticates its clients")
	flag.Parse()
	if err := run(*server, *user, *token); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Println("every call succeeded")
}

func run(server, user, token string) error {
	connection, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	c := client{pb.NewNATSServiceClient(connection), user, fmt.Sprint(time.Now().UnixNano())}
	for _, step := range []func(context.Context) error{
		c.health, c.publish, c.request, c.stream, c.keys, c.objects, c.statistics, c.remove,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Returns an error if the condition does not hold.
func check(holds bool, format string, arguments ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, arguments...)
}

func (c client) health(ctx context.Context) error {
	health, err := c.HealthCheck(ctx, &pb.NATSHealthCheckRequest{DeepCheck: true})
	if err != nil {
		return err
	}
	fmt.Printf("health: %s, with JetStream\n", health.NatsStatus)
	return check(health.Healthy && health.JetstreamEnabled, "not healthy: %v", health)
}

// Opens a gRPC stream of messages. Returns when the subscription is established.
func (c client) subscribe(ctx context.Context, subject string) (grpc.ServerStreamingClient[pb.MessageResponse], error) {
	stream, err := c.Subscribe(ctx, &pb.SubscribeRequest{UserId: c.user, Subject: subject})
	if err != nil {
		return nil, err
	}
	_, err = stream.Header()
	return stream, err
}

func (c client) publish(ctx context.Context) error {
	subject := "events" + c.run
	stream, err := c.subscribe(ctx, subject+".*")
	if err != nil {
		return err
	}
	sent, err := c.Publish(ctx, &pb.PublishRequest{
		UserId: c.user, Subject: subject + ".one", Data: []byte("hello"),
		Headers: map[string]string{"Kind": "greeting"},
	})
	if err != nil {
		return err
	}
	message, err := stream.Recv()
	if err != nil {
		return err
	}
	right := message.Subject == subject+".one" && string(message.Data) == "hello" && message.Headers["Kind"] == "greeting"
	if err := errors.Join(
		check(sent.Success, "not published: %v", sent),
		check(right, "another message: %v", message),
	); err != nil {
		return err
	}
	fmt.Println("publish, subscribe:", message.Subject)

	batch := &pb.PublishBatchRequest{UserId: c.user}
	for number := range 10 {
		batch.Messages = append(batch.Messages, &pb.NATSMessage{
			Subject: fmt.Sprintf("%s.%d", subject, number), Data: fmt.Append(nil, number),
		})
	}
	published, err := c.PublishBatch(ctx, batch)
	if err != nil {
		return err
	}
	if err := check(published.Success && published.PublishedCount == 10, "not all published: %v", published); err != nil {
		return err
	}
	for number := range 10 {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := check(string(message.Data) == fmt.Sprint(number), "not in order: %v", message); err != nil {
			return err
		}
	}
	ended, err := c.Unsubscribe(ctx, &pb.UnsubscribeRequest{UserId: c.user, Subject: subject + ".*"})
	if err != nil {
		return err
	}
	if err := check(ended.Success, "not unsubscribed"); err != nil {
		return err
	}
	if message, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("after the last message: %v, %w", message, err)
	}
	fmt.Printf("batch: %d messages, in order\n", published.PublishedCount)
	return nil
}

func (c client) request(ctx context.Context) error {
	subject := "service" + c.run
	working, stop := context.WithCancel(ctx)
	defer stop()
	work, err := c.subscribe(working, subject)
	if err != nil {
		return err
	}
	responded := make(chan error, 1)
	go func() {
		message, err := work.Recv()
		if err == nil {
			_, err = c.Publish(ctx, &pb.PublishRequest{
				UserId: c.user, Subject: message.ReplyTo, Data: append([]byte("echo "), message.Data...),
			})
		}
		responded <- err
	}()
	reply, err := c.Request(ctx, &pb.RequestRequest{
		UserId: c.user, Subject: subject, Data: []byte("hi"), Timeout: durationpb.New(10 * time.Second),
	})
	if err != nil {
		return err
	}
	if err := check(reply.Success && string(reply.Data) == "echo hi", "another reply: %v", reply); err != nil {
		return err
	}
	if err := <-responded; err != nil {
		return err
	}
	failed, err := c.Request(ctx, &pb.RequestRequest{UserId: c.user, Subject: "unused" + c.run})
	if err != nil {
		return err
	}
	fmt.Printf("request: %s; without a responder: %s\n", reply.Data, failed.ErrorMessage)
	return check(!failed.Success, "a reply without a responder: %v", failed)
}

func (c client) stream(ctx context.Context) error {
	name, consumer := "orders"+c.run, "billing"
	config := &pb.StreamConfig{Name: name, Subjects: []string{name + ".>"}}
	created, err := c.CreateStream(ctx, &pb.CreateStreamRequest{UserId: c.user, Config: config})
	if err != nil {
		return err
	}
	info, err := c.GetStreamInfo(ctx, &pb.GetStreamInfoRequest{UserId: c.user, StreamName: name})
	if err != nil {
		return err
	}
	right := info.Stream.GetName() == name && slices.Equal(info.Stream.GetConfig().GetSubjects(), config.Subjects)
	if err := check(created.Success && right, "another stream: %v", info); err != nil {
		return err
	}
	for number := int64(1); number <= 3; number++ {
		stored, err := c.PublishToStream(ctx, &pb.PublishToStreamRequest{
			UserId: c.user, StreamName: name, Subject: name + ".new", Data: fmt.Append(nil, number),
		})
		if err != nil {
			return err
		}
		if err := check(stored.Success && stored.Sequence == number, "not stored: %v", stored); err != nil {
			return err
		}
	}
	made, err := c.CreateConsumer(ctx, &pb.CreateConsumerRequest{
		UserId: c.user, StreamName: name, Config: &pb.ConsumerConfig{DurableName: consumer},
	})
	if err != nil {
		return err
	}
	pulled, err := c.PullMessages(ctx, &pb.PullMessagesRequest{
		UserId: c.user, StreamName: name, ConsumerName: consumer, BatchSize: 3, MaxWait: durationpb.New(5 * time.Second),
	})
	if err != nil {
		return err
	}
	if err := check(made.Success && len(pulled.Messages) == 3, "other messages: %v", pulled); err != nil {
		return err
	}
	for index, message := range pulled.Messages {
		acked, err := c.AckMessage(ctx, &pb.AckMessageRequest{
			UserId: c.user, StreamName: name, ConsumerName: consumer, Sequence: message.Sequence,
		})
		if err != nil {
			return err
		}
		right := acked.Success && string(message.Data) == fmt.Sprint(index+1)
		if err := check(right, "not acknowledged: %v", message); err != nil {
			return err
		}
	}
	state, err := c.GetConsumerInfo(ctx, &pb.GetConsumerInfoRequest{
		UserId: c.user, StreamName: name, ConsumerName: consumer,
	})
	if err != nil {
		return err
	}
	fmt.Printf("stream: %s, 3 messages stored, pulled, acknowledged\n", name)
	return check(state.Consumer.GetState().GetAckFloorSeq() == 3, "another state: %v", state)
}

func (c client) keys(ctx context.Context) error {
	bucket, key := "settings", "colour of/the sky "+c.run
	put, err := c.KVPut(ctx, &pb.KVPutRequest{UserId: c.user, Bucket: bucket, Key: key, Value: []byte("blue")})
	if err != nil {
		return err
	}
	get := &pb.KVGetRequest{UserId: c.user, Bucket: bucket, Key: key}
	got, err := c.KVGet(ctx, get)
	if err != nil {
		return err
	}
	right := put.Success && got.Found && string(got.Value) == "blue" && got.Revision == put.Revision
	if err := check(right, "another value: %v", got); err != nil {
		return err
	}
	keys, err := c.KVKeys(ctx, &pb.KVKeysRequest{UserId: c.user, Bucket: bucket})
	if err != nil {
		return err
	}
	deleted, err := c.KVDelete(ctx, &pb.KVDeleteRequest{UserId: c.user, Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	gone, err := c.KVGet(ctx, get)
	if err != nil {
		return err
	}
	fmt.Printf("keys: %s put, got, listed, deleted\n", key)
	return errors.Join(
		check(slices.Contains(keys.Keys, key), "other keys: %v", keys),
		check(deleted.Success && !gone.Found, "found, though deleted: %v", gone),
	)
}

func (c client) objects(ctx context.Context) error {
	bucket, name, data := "files", "reports/"+c.run, bytes.Repeat([]byte("0123456789abcdef"), 64_000)
	put, err := c.ObjectPut(ctx, &pb.ObjectPutRequest{
		UserId: c.user, Bucket: bucket, ObjectName: name, Data: data, Metadata: map[string]string{"author": "ann"},
	})
	if err != nil {
		return err
	}
	get := &pb.ObjectGetRequest{UserId: c.user, Bucket: bucket, ObjectName: name}
	got, err := c.ObjectGet(ctx, get)
	if err != nil {
		return err
	}
	right := put.Success && got.Found && bytes.Equal(got.Data, data) && got.Metadata["author"] == "ann"
	if err := check(right, "another object"); err != nil {
		return err
	}
	listed, err := c.ObjectList(ctx, &pb.ObjectListRequest{UserId: c.user, Bucket: bucket})
	if err != nil {
		return err
	}
	is := func(found *pb.ObjectInfo) bool { return found.Name == name && found.Size == int64(len(data)) }
	deleted, err := c.ObjectDelete(ctx, &pb.ObjectDeleteRequest{UserId: c.user, Bucket: bucket, ObjectName: name})
	if err != nil {
		return err
	}
	gone, err := c.ObjectGet(ctx, get)
	if err != nil {
		return err
	}
	fmt.Printf("objects: %d bytes put, got, listed, deleted\n", len(data))
	return errors.Join(
		check(slices.ContainsFunc(listed.Objects, is), "not listed: %v", listed),
		check(deleted.Success && !gone.Found, "found, though deleted"),
	)
}

func (c client) statistics(ctx context.Context) error {
	stats, err := c.GetStreamStats(ctx, &pb.GetStreamStatsRequest{UserId: c.user, StreamName: "orders" + c.run})
	if err != nil {
		return err
	}
	total, err := c.GetStatistics(ctx, &pb.GetStatisticsRequest{UserId: c.user})
	if err != nil {
		return err
	}
	fmt.Printf("statistics: %d streams, %d messages in, %d out\n", total.TotalStreams, total.InMsgs, total.OutMsgs)
	return errors.Join(
		check(stats.Messages == 3 && stats.ConsumerCount == 1, "other statistics: %v", stats),
		check(total.TotalStreams >= 1 && total.TotalMessages >= 3, "other statistics: %v", total),
	)
}

func (c client) remove(ctx context.Context) error {
	name := "orders" + c.run
	consumer, err := c.DeleteConsumer(ctx, &pb.DeleteConsumerRequest{
		UserId: c.user, StreamName: name, ConsumerName: "billing",
	})
	if err != nil {
		return err
	}
	stream, err := c.DeleteStream(ctx, &pb.DeleteStreamRequest{UserId: c.user, StreamName: name})
	if err != nil {
		return err
	}
	_, err = c.GetStreamInfo(ctx, &pb.GetStreamInfoRequest{UserId: c.user, StreamName: name})
	fmt.Println("delete: the stream is gone")
	return errors.Join(
		check(consumer.Success && stream.Success, "not deleted"),
		check(status.Code(err) == codes.NotFound, "there, though deleted: %v", err),
	)
}
