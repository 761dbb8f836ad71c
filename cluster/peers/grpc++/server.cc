// The benchmark's service on grpc++, by its callback API or by completion queues.
//
//   server ADDRESS callback|queue THREADS [CA CERTIFICATE KEY]
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "benchmark.grpc.pb.h"

using iov::bench::v1::Benchmark;
using iov::bench::v1::Payload;

constexpr int kMessagesPerDownload = 1024;

// --- callback API

class Echo : public grpc::ServerBidiReactor<Payload, Payload> {
 public:
  Echo() { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (ok) {
      StartWrite(&message_);
    } else {
      Finish(grpc::Status::OK);
    }
  }
  void OnWriteDone(bool ok) override {
    if (ok) StartRead(&message_);
  }
  void OnDone() override { delete this; }

 private:
  Payload message_;
};

class Sending : public grpc::ServerWriteReactor<Payload> {
 public:
  explicit Sending(const Payload* message) : message_(*message) { Next(); }
  void OnWriteDone(bool ok) override {
    if (ok) {
      Next();
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (left_-- > 0) {
      StartWrite(&message_);
    } else {
      Finish(grpc::Status::OK);
    }
  }
  Payload message_;
  int left_ = kMessagesPerDownload;
};

class Taking : public grpc::ServerReadReactor<Payload> {
 public:
  Taking() { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (ok) {
      StartRead(&message_);
    } else {
      Finish(grpc::Status::OK);
    }
  }
  void OnDone() override { delete this; }

 private:
  Payload message_;
};

class CallbackService final : public Benchmark::CallbackService {
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const Payload* request,
                                  Payload* response) override {
    *response = *request;
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerBidiReactor<Payload, Payload>* Bidirectional(grpc::CallbackServerContext*) override { return new Echo; }
  grpc::ServerWriteReactor<Payload>* Download(grpc::CallbackServerContext*, const Payload* request) override {
    return new Sending(request);
  }
  grpc::ServerReadReactor<Payload>* Upload(grpc::CallbackServerContext*, Payload*) override { return new Taking; }
};

// --- completion queues

struct Step {
  virtual ~Step() = default;
  virtual void Proceed(bool ok) = 0;
};

using Queue = grpc::ServerCompletionQueue;

class UnaryCall : public Step {
 public:
  UnaryCall(Benchmark::AsyncService* service, Queue* queue) : service_(service), queue_(queue), writer_(&context_) {
    service_->RequestUnary(&context_, &request_, &writer_, queue_, queue_, this);
  }
  void Proceed(bool ok) override {
    if (!ok || answered_) {
      delete this;
      return;
    }
    new UnaryCall(service_, queue_);
    answered_ = true;
    response_ = request_;
    writer_.Finish(response_, grpc::Status::OK, this);
  }

 private:
  Benchmark::AsyncService* service_;
  Queue* queue_;
  grpc::ServerContext context_;
  Payload request_, response_;
  grpc::ServerAsyncResponseWriter<Payload> writer_;
  bool answered_ = false;
};

class EchoCall : public Step {
 public:
  EchoCall(Benchmark::AsyncService* service, Queue* queue) : service_(service), queue_(queue), stream_(&context_) {
    service_->RequestBidirectional(&context_, &stream_, queue_, queue_, this);
  }
  void Proceed(bool ok) override {
    switch (state_) {
      case kWaiting:
        if (!ok) break;
        new EchoCall(service_, queue_);
        state_ = kReading;
        stream_.Read(&message_, this);
        return;
      case kReading:
        if (ok) {
          state_ = kWriting;
          stream_.Write(message_, this);
        } else {
          state_ = kFinishing;
          stream_.Finish(grpc::Status::OK, this);
        }
        return;
      case kWriting:
        if (ok) {
          state_ = kReading;
          stream_.Read(&message_, this);
        } else {
          state_ = kFinishing;
          stream_.Finish(grpc::Status::CANCELLED, this);
        }
        return;
      case kFinishing: break;
    }
    delete this;
  }

 private:
  enum { kWaiting, kReading, kWriting, kFinishing } state_ = kWaiting;
  Benchmark::AsyncService* service_;
  Queue* queue_;
  grpc::ServerContext context_;
  Payload message_;
  grpc::ServerAsyncReaderWriter<Payload, Payload> stream_;
};

class DownloadCall : public Step {
 public:
  DownloadCall(Benchmark::AsyncService* service, Queue* queue) : service_(service), queue_(queue), writer_(&context_) {
    service_->RequestDownload(&context_, &request_, &writer_, queue_, queue_, this);
  }
  void Proceed(bool ok) override {
    if (left_ == kMessagesPerDownload && ok) new DownloadCall(service_, queue_);
    if (!ok || left_ < 0) {
      // A caller that is gone has nothing to be told.
      delete this;
    } else if (left_-- > 0) {
      writer_.Write(request_, this);
    } else {
      writer_.Finish(grpc::Status::OK, this);
    }
  }

 private:
  Benchmark::AsyncService* service_;
  Queue* queue_;
  grpc::ServerContext context_;
  Payload request_;
  grpc::ServerAsyncWriter<Payload> writer_;
  int left_ = kMessagesPerDownload;
};

void Work(Queue* queue) {
  void* tag;
  bool ok;
  while (queue->Next(&tag, &ok)) static_cast<Step*>(tag)->Proceed(ok);
}

// ---

std::string Contents(const char* path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

int main(int count, char** arguments) {
  if (count != 4 && count != 7) {
    std::fprintf(stderr, "usage: server ADDRESS callback|queue THREADS [CA CERTIFICATE KEY]\n");
    return 64;
  }
  const std::string api = arguments[2];
  const int threads = std::atoi(arguments[3]);
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (count == 7) {
    grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = Contents(arguments[4]);
    options.pem_key_cert_pairs.push_back({Contents(arguments[6]), Contents(arguments[5])});
    credentials = grpc::SslServerCredentials(options);
  }
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(arguments[1], credentials, &port);
  CallbackService callback_service;
  Benchmark::AsyncService queue_service;
  std::vector<std::unique_ptr<Queue>> queues;
  if (api == "queue") {
    builder.RegisterService(&queue_service);
    for (int i = 0; i < threads; i++) queues.push_back(builder.AddCompletionQueue());
  } else {
    builder.RegisterService(&callback_service);
  }
  auto server = builder.BuildAndStart();
  if (!server) return 1;
  std::printf("listening on 127.0.0.1:%d, process %d\n", port, getpid());
  std::fflush(stdout);
  std::vector<std::thread> workers;
  for (auto& queue : queues) {
    // Calls that may begin at a time before the next is asked for.
    for (int i = 0; i < 256; i++) {
      new UnaryCall(&queue_service, queue.get());
      new EchoCall(&queue_service, queue.get());
    }
    for (int i = 0; i < 8; i++) new DownloadCall(&queue_service, queue.get());
    workers.emplace_back(Work, queue.get());
  }
  server->Wait();
}
