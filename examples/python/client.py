"""Uses NATS over gRPC; README.md says how to run it. The exit code is 1 if a response is not as expected."""

import argparse
import sys
import threading
import time
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration

sys.path.insert(0, str(Path(__file__).parent / "generated"))

import nats_service_pb2 as pb
import nats_service_pb2_grpc as pb_grpc

# Seconds that any call may take.
LIMIT = 30


class Unexpected(Exception):
    """A response is not as expected."""


def check(condition, what):
    if not condition:
        raise Unexpected(what)


class Client:
    """A client of one user. Names end with a number, so that leftovers of another run do not matter."""

    def __init__(self, channel, user, token):
        self.stub = pb_grpc.NATSServiceStub(channel)
        self.user = user
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        self.run = str(time.time_ns())

    def call(self, method, request):
        """Calls a unary method, with the user in its request."""
        if "user_id" in request.DESCRIPTOR.fields_by_name:
            request.user_id = self.user
        return getattr(self.stub, method)(request, timeout=LIMIT, metadata=self.metadata)

    def subscribe(self, subject):
        """Opens a gRPC stream of messages. Returns when the subscription is established."""
        request = pb.SubscribeRequest(user_id=self.user, subject=subject)
        stream = self.stub.Subscribe(request, metadata=self.metadata)
        stream.initial_metadata()
        return stream

    def health(self):
        health = self.call("HealthCheck", pb.NATSHealthCheckRequest(deep_check=True))
        check(health.healthy and health.jetstream_enabled, f"not healthy: {health}")
        print(f"health: {health.nats_status}, with JetStream")

    def publish(self):
        subject = f"events{self.run}"
        stream = self.subscribe(f"{subject}.*")
        sent = self.call(
            "Publish", pb.PublishRequest(subject=f"{subject}.one", data=b"hello", headers={"Kind": "greeting"})
        )
        check(sent.success, f"not published: {sent}")
        message = next(stream)
        check((message.subject, message.data) == (f"{subject}.one", b"hello"), f"another message: {message}")
        check(message.headers["Kind"] == "greeting", f"no header: {message}")
        print(f"publish, subscribe: {message.subject}")

        messages = [pb.NATSMessage(subject=f"{subject}.{n}", data=str(n).encode()) for n in range(10)]
        batch = self.call("PublishBatch", pb.PublishBatchRequest(messages=messages))
        check(batch.success and batch.published_count == 10 and not batch.errors, f"not all published: {batch}")
        check([int(next(stream).data) for _ in range(10)] == list(range(10)), "not in order")
        check(self.call("Unsubscribe", pb.UnsubscribeRequest(subject=f"{subject}.*")).success, "not unsubscribed")
        check(list(stream) == [], "messages after the last")
        print(f"batch: {batch.published_count} messages, in order")

    def request(self):
        subject = f"service{self.run}"
        work = self.subscribe(subject)

        def respond():
            message = next(work)
            self.call("Publish", pb.PublishRequest(subject=message.reply_to, data=b"echo " + message.data))

        responder = threading.Thread(target=respond, daemon=True)
        responder.start()
        request = pb.RequestRequest(subject=subject, data=b"hi", timeout=Duration(seconds=10))
        reply = self.call("Request", request)
        responder.join(LIMIT)
        work.cancel()
        check(reply.success and reply.data == b"echo hi", f"another reply: {reply}")
        failed = self.call("Request", pb.RequestRequest(subject=f"unused{self.run}"))
        check(not failed.success, f"a reply without a responder: {failed}")
        print(f"request: {reply.data.decode()}; without a responder: {failed.error_message}")

    def stream(self):
        name = f"orders{self.run}"
        consumer = {"stream_name": name, "consumer_name": "billing"}
        config = pb.StreamConfig(name=name, subjects=[f"{name}.>"])
        check(self.call("CreateStream", pb.CreateStreamRequest(config=config)).success, "no stream")
        info = self.call("GetStreamInfo", pb.GetStreamInfoRequest(stream_name=name)).stream
        check((info.name, list(info.config.subjects)) == (name, [f"{name}.>"]), f"another stream: {info}")
        for number in (1, 2, 3):
            request = pb.PublishToStreamRequest(stream_name=name, subject=f"{name}.new", data=str(number).encode())
            stored = self.call("PublishToStream", request)
            check(stored.success and stored.sequence == number, f"not stored: {stored}")
        config = pb.ConsumerConfig(durable_name="billing")
        created = self.call("CreateConsumer", pb.CreateConsumerRequest(stream_name=name, config=config))
        check(created.success, f"no consumer: {created}")
        pull = pb.PullMessagesRequest(batch_size=3, max_wait=Duration(seconds=5), **consumer)
        pulled = self.call("PullMessages", pull).messages
        check([message.data for message in pulled] == [b"1", b"2", b"3"], f"other messages: {pulled}")
        for message in pulled:
            acked = self.call("AckMessage", pb.AckMessageRequest(sequence=message.sequence, **consumer))
            check(acked.success, f"not acknowledged: {message.sequence}")
        state = self.call("GetConsumerInfo", pb.GetConsumerInfoRequest(**consumer)).consumer.state
        check(state.ack_floor_seq == 3, f"another state: {state}")
        print(f"stream: {name}, 3 messages stored, pulled, acknowledged")

    def keys(self):
        bucket, key = "settings", f"colour of/the sky {self.run}"
        put = self.call("KVPut", pb.KVPutRequest(bucket=bucket, key=key, value=b"blue"))
        check(put.success and put.revision > 0, f"not put: {put}")
        got = self.call("KVGet", pb.KVGetRequest(bucket=bucket, key=key))
        check(got.found and got.value == b"blue" and got.revision == put.revision, f"another value: {got}")
        keys = list(self.call("KVKeys", pb.KVKeysRequest(bucket=bucket)).keys)
        check(key in keys, f"other keys: {keys}")
        check(self.call("KVDelete", pb.KVDeleteRequest(bucket=bucket, key=key)).success, "not deleted")
        check(not self.call("KVGet", pb.KVGetRequest(bucket=bucket, key=key)).found, "found, though deleted")
        print(f"keys: {key} put, got, listed, deleted")

    def objects(self):
        named = {"bucket": "files", "object_name": f"reports/{self.run}"}
        data, metadata = bytes(range(256)) * 4000, {"author": "ann"}
        put = self.call("ObjectPut", pb.ObjectPutRequest(data=data, metadata=metadata, **named))
        check(put.success, f"not put: {put}")
        got = self.call("ObjectGet", pb.ObjectGetRequest(**named))
        check(got.found and got.data == data and dict(got.metadata) == metadata, "another object")
        listed = self.call("ObjectList", pb.ObjectListRequest(bucket=named["bucket"])).objects
        sizes = {found.name: found.size for found in listed}
        check(sizes.get(named["object_name"]) == len(data), f"not listed: {listed}")
        check(self.call("ObjectDelete", pb.ObjectDeleteRequest(**named)).success, "not deleted")
        check(not self.call("ObjectGet", pb.ObjectGetRequest(**named)).found, "found, though deleted")
        print(f"objects: {len(data)} bytes put, got, listed, deleted")

    def statistics(self):
        stats = self.call("GetStreamStats", pb.GetStreamStatsRequest(stream_name=f"orders{self.run}"))
        check(stats.messages == 3 and stats.consumer_count == 1, f"other statistics: {stats}")
        total = self.call("GetStatistics", pb.GetStatisticsRequest())
        check(total.total_streams >= 1 and total.total_messages >= 3, f"other statistics: {total}")
        print(f"statistics: {total.total_streams} streams, {total.in_msgs} messages in, {total.out_msgs} out")

    def delete(self):
        name = f"orders{self.run}"
        request = pb.DeleteConsumerRequest(stream_name=name, consumer_name="billing")
        check(self.call("DeleteConsumer", request).success, "the consumer is not deleted")
        check(self.call("DeleteStream", pb.DeleteStreamRequest(stream_name=name)).success, "not deleted")
        try:
            self.call("GetStreamInfo", pb.GetStreamInfoRequest(stream_name=name))
            raise Unexpected("there, though deleted")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.NOT_FOUND, f"another failure: {error}")
        print("delete: the stream is gone")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="127.0.0.1:50056", help="host and port")
    parser.add_argument("--user", default="python-example")
    parser.add_argument("--token", help="the user's token, if the server authenticates its clients")
    args = parser.parse_args()
    with grpc.insecure_channel(args.server) as channel:
        client = Client(channel, args.user, args.token)
        steps = (client.health, client.publish, client.request, client.stream, client.keys, client.objects)
        for step in (*steps, client.statistics, client.delete):
            step()
    print("every call succeeded")


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"error: {error.code().name}: {error.details()}")
    except Unexpected as error:
        sys.exit(f"error: {error}")
