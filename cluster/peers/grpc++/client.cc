// Unary calls by grpc++'s client, by its callback API or by a completion queue.
//
//   client ADDRESS callback|queue CONNECTIONS STREAMS SECONDS [CA CERTIFICATE KEY SERVER-NAME]
//
// Prints one figure a line, like `iov-bench mesh call unary`.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "benchmark.grpc.pb.h"

using iov::bench::v1::Benchmark;
using iov::bench::v1::Payload;
using Clock = std::chrono::steady_clock;

std::atomic<bool> measuring{false}, over{false};
std::mutex mutex;
std::condition_variable all_ended;
std::vector<double> latencies;  // microseconds
int open_streams = 0;

double ProcessorSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

// One stream: a call, and when it is answered the next.
class Stream {
 public:
  Stream(Benchmark::Stub* stub, grpc::CompletionQueue* queue) : stub_(stub), queue_(queue) {
    request_.set_data(std::string(98, 'Z'));
  }
  void Begin() {
    context_ = std::make_unique<grpc::ClientContext>();
    begun_ = Clock::now();
    if (queue_) {
      reader_ = stub_->AsyncUnary(context_.get(), request_, queue_);
      reader_->Finish(&response_, &status_, this);
    } else {
      stub_->async()->Unary(context_.get(), &request_, &response_, [this](grpc::Status status) {
        status_ = std::move(status);
        Ended();
      });
    }
  }
  void Ended() {
    if (!status_.ok()) {
      std::fprintf(stderr, "%s\n", status_.error_message().c_str());
      std::exit(1);
    }
    if (measuring) took_.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begun_).count());
    if (!over) return Begin();
    std::lock_guard<std::mutex> lock(mutex);
    latencies.insert(latencies.end(), took_.begin(), took_.end());
    if (--open_streams == 0) all_ended.notify_all();
  }

 private:
  Benchmark::Stub* stub_;
  grpc::CompletionQueue* queue_;
  Payload request_, response_;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Payload>> reader_;
  Clock::time_point begun_;
  std::vector<double> took_;
};

std::string Contents(const char* path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

int main(int count, char** arguments) {
  if (count != 6 && count != 10) {
    std::fprintf(stderr,
                 "usage: client ADDRESS callback|queue CONNECTIONS STREAMS SECONDS [CA CERTIFICATE KEY SERVER-NAME]\n");
    return 64;
  }
  const bool by_queue = std::string(arguments[2]) == "queue";
  const int connections = std::atoi(arguments[3]), streams = std::atoi(arguments[4]);
  const double seconds = std::atof(arguments[5]);
  grpc::ChannelArguments channel_arguments;
  // Or all channels to one address share a connection.
  channel_arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (count == 10) {
    credentials = grpc::SslCredentials({Contents(arguments[6]), Contents(arguments[8]), Contents(arguments[7])});
    channel_arguments.SetSslTargetNameOverride(arguments[9]);
  }
  std::unique_ptr<grpc::CompletionQueue> queue;
  if (by_queue) queue = std::make_unique<grpc::CompletionQueue>();
  std::vector<std::unique_ptr<Benchmark::Stub>> stubs;
  std::vector<std::unique_ptr<Stream>> all;
  for (int i = 0; i < connections; i++) {
    stubs.push_back(Benchmark::NewStub(grpc::CreateCustomChannel(arguments[1], credentials, channel_arguments)));
    for (int j = 0; j < streams; j++) all.push_back(std::make_unique<Stream>(stubs.back().get(), queue.get()));
  }
  open_streams = connections * streams;
  for (auto& stream : all) stream->Begin();
  std::thread worker([&] {
    void* tag;
    bool ok;
    while (queue && queue->Next(&tag, &ok)) static_cast<Stream*>(tag)->Ended();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const auto begun = Clock::now();
  const double busy = ProcessorSeconds();
  measuring = true;
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  measuring = false;
  const double used = ProcessorSeconds() - busy;
  const double took = std::chrono::duration<double>(Clock::now() - begun).count();
  over = true;
  {
    std::unique_lock<std::mutex> lock(mutex);
    all_ended.wait(lock, [] { return open_streams == 0; });
  }
  if (queue) queue->Shutdown();
  worker.join();
  std::sort(latencies.begin(), latencies.end());
  const size_t calls = latencies.size();
  if (calls == 0) return 1;
  std::printf("messages_per_second %.1f\np50_microseconds %.1f\np99_microseconds %.1f\n", calls / took,
              latencies[calls / 2], latencies[calls * 99 / 100]);
  std::printf("client_microseconds_per_message %.3f\n", used * 1e6 / calls);
}
