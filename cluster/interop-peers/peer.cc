// gRPC's interoperability tests on grpc++: a server and a client that know nothing of iovmesh but its .proto files.
//
//   peer server [TLS]
//   peer client --server_port=PORT --test_case=CASE [TLS]
//
// The server prints the port it listens on. The client's exit status is 0 if the case passes, 1 if not. TLS, always
// mutual, is --use_tls=true --ca_file=FILE --tls_cert_file=FILE --tls_key_file=FILE, and for the client
// --server_host_override=NAME.
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "grpc/testing/test.grpc.pb.h"

// The library's own, for tests: whether the message that was read last came compressed.
uint32_t grpc_call_test_only_get_message_flags(grpc_call* call);

namespace {

using namespace grpc::testing;
using grpc::Status;
using grpc::StatusCode;

const char* const kInitial = "x-grpc-test-echo-initial";
const char* const kTrailing = "x-grpc-test-echo-trailing-bin";

bool CameCompressed(grpc_call* call) {
  // GRPC_WRITE_INTERNAL_COMPRESS, and GRPC_WRITE_INTERNAL_TEST_ONLY_WAS_COMPRESSED.
  return (grpc_call_test_only_get_message_flags(call) & 0xc0000000u) != 0;
}

std::map<std::string, std::string> flags;

bool UsesTLS() { return flags["use_tls"] == "true"; }

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// MARK: The server

class Service final : public TestService::Service {
  template <typename Request>
  static bool CompressionIsWrong(const Request& request, grpc::ServerContext* context) {
    return request.has_expect_compressed() && request.expect_compressed().value() != CameCompressed(context->c_call());
  }

  static Status WrongCompression() {
    return Status(StatusCode::INVALID_ARGUMENT, "the message's compression is not what it says");
  }

  static void EchoMetadata(grpc::ServerContext* context) {
    for (const auto& [name, value] : context->client_metadata()) {
      const std::string text(value.data(), value.size());
      if (name == kInitial) context->AddInitialMetadata(kInitial, text);
      if (name == kTrailing) context->AddTrailingMetadata(kTrailing, text);
    }
  }

  template <typename Request>
  static Status AskedStatus(const Request& request) {
    return Status(static_cast<StatusCode>(request.response_status().code()), request.response_status().message());
  }

  template <typename Writer>
  static void Respond(const StreamingOutputCallRequest& request, Writer* writer) {
    for (const auto& parameters : request.response_parameters()) {
      std::this_thread::sleep_for(std::chrono::microseconds(parameters.interval_us()));
      StreamingOutputCallResponse response;
      response.mutable_payload()->set_body(std::string(parameters.size(), '\0'));
      grpc::WriteOptions options;
      if (!parameters.compressed().value()) options.set_no_compression();
      writer->Write(response, options);
    }
  }

  Status EmptyCall(grpc::ServerContext* context, const Empty*, Empty*) override {
    EchoMetadata(context);
    return Status::OK;
  }

  Status UnaryCall(grpc::ServerContext* context, const SimpleRequest* request, SimpleResponse* response) override {
    EchoMetadata(context);
    if (request->response_compressed().value()) context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    if (CompressionIsWrong(*request, context)) return WrongCompression();
    response->mutable_payload()->set_body(std::string(request->response_size(), '\0'));
    return AskedStatus(*request);
  }

  Status StreamingOutputCall(grpc::ServerContext* context, const StreamingOutputCallRequest* request,
                             grpc::ServerWriter<StreamingOutputCallResponse>* writer) override {
    for (const auto& parameters : request->response_parameters()) {
      if (parameters.compressed().value()) context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    }
    Respond(*request, writer);
    return AskedStatus(*request);
  }

  Status StreamingInputCall(grpc::ServerContext* context, grpc::ServerReader<StreamingInputCallRequest>* reader,
                            StreamingInputCallResponse* response) override {
    StreamingInputCallRequest request;
    int sum = 0;
    while (reader->Read(&request)) {
      if (CompressionIsWrong(request, context)) return WrongCompression();
      sum += request.payload().body().size();
    }
    response->set_aggregated_payload_size(sum);
    return Status::OK;
  }

  using Duplex = grpc::ServerReaderWriter<StreamingOutputCallResponse, StreamingOutputCallRequest>;

  Status FullDuplexCall(grpc::ServerContext* context, Duplex* stream) override {
    EchoMetadata(context);
    StreamingOutputCallRequest request;
    while (stream->Read(&request)) {
      if (request.has_response_status()) return AskedStatus(request);
      Respond(request, stream);
    }
    return Status::OK;
  }

  Status HalfDuplexCall(grpc::ServerContext*, Duplex* stream) override {
    std::vector<StreamingOutputCallRequest> requests(1);
    while (stream->Read(&requests.back())) requests.emplace_back();
    for (const auto& request : requests) Respond(request, stream);
    return Status::OK;
  }
};

std::shared_ptr<grpc::ServerCredentials> ServerCredentials() {
  if (!UsesTLS()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = Contents(flags["ca_file"]);
  options.pem_key_cert_pairs.push_back({Contents(flags["tls_key_file"]), Contents(flags["tls_cert_file"])});
  return grpc::SslServerCredentials(options);
}

int Serve() {
  Service service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", ServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (!server) return 1;
  std::cout << "listening on 127.0.0.1:" << port << std::endl;
  server->Wait();
  return 0;
}

// MARK: The client

void Check(bool holds, const std::string& what) {
  if (holds) return;
  std::cerr << what << std::endl;
  exit(1);
}

void CheckStatus(const Status& status, StatusCode code) {
  Check(status.error_code() == code,
        "status " + std::to_string(status.error_code()) + ": " + status.error_message() + "; wanted " +
            std::to_string(code));
}

Payload Zeros(int size) {
  Payload payload;
  payload.set_body(std::string(size, '\0'));
  return payload;
}

SimpleRequest Large() {
  SimpleRequest request;
  request.set_response_size(314159);
  *request.mutable_payload() = Zeros(271828);
  return request;
}

StreamingOutputCallRequest Asking(int size, int payload) {
  StreamingOutputCallRequest request;
  request.add_response_parameters()->set_size(size);
  *request.mutable_payload() = Zeros(payload);
  return request;
}

bool HasMetadata(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata, const char* name,
                 const std::string& value) {
  const auto found = metadata.find(name);
  return found != metadata.end() && std::string(found->second.data(), found->second.size()) == value;
}

class Cases {
 public:
  explicit Cases(const std::string& endpoint)
      : channel_(grpc::CreateCustomChannel(endpoint, Credentials(), Arguments())),
        stub_(TestService::NewStub(channel_)) {}

  void EmptyUnary() {
    Empty response;
    CheckStatus(stub_->EmptyCall(&context_, Empty(), &response), StatusCode::OK);
  }

  void LargeUnary() {
    grpc::ClientContext context;
    CheckLarge(&context, Large());
  }

  void ClientStreaming() {
    StreamingInputCallResponse response;
    const auto writer = stub_->StreamingInputCall(&context_, &response);
    for (const int size : {27182, 8, 1828, 45904}) {
      StreamingInputCallRequest request;
      *request.mutable_payload() = Zeros(size);
      Check(writer->Write(request), "a request cannot be written");
    }
    writer->WritesDone();
    CheckStatus(writer->Finish(), StatusCode::OK);
    Check(response.aggregated_payload_size() == 74922, "the sum is wrong");
  }

  void ServerStreaming() {
    const std::vector<int> sizes = {31415, 9, 2653, 58979};
    StreamingOutputCallRequest request;
    for (const int size : sizes) request.add_response_parameters()->set_size(size);
    const auto reader = stub_->StreamingOutputCall(&context_, request);
    StreamingOutputCallResponse response;
    for (const int size : sizes) CheckNext(reader.get(), size);
    Check(!reader->Read(&response), "there is a fifth response");
    CheckStatus(reader->Finish(), StatusCode::OK);
  }

  void PingPong() {
    const auto stream = stub_->FullDuplexCall(&context_);
    const std::vector<std::pair<int, int>> turns = {{31415, 27182}, {9, 8}, {2653, 1828}, {58979, 45904}};
    for (const auto& [size, payload] : turns) {
      Check(stream->Write(Asking(size, payload)), "a request cannot be written");
      CheckNext(stream.get(), size);
    }
    stream->WritesDone();
    CheckStatus(stream->Finish(), StatusCode::OK);
  }

  void EmptyStream() {
    const auto stream = stub_->FullDuplexCall(&context_);
    stream->WritesDone();
    StreamingOutputCallResponse response;
    Check(!stream->Read(&response), "there is a response");
    CheckStatus(stream->Finish(), StatusCode::OK);
  }

  void CancelAfterBegin() {
    StreamingInputCallResponse response;
    const auto writer = stub_->StreamingInputCall(&context_, &response);
    context_.TryCancel();
    CheckStatus(writer->Finish(), StatusCode::CANCELLED);
  }

  void CancelAfterFirstResponse() {
    const auto stream = stub_->FullDuplexCall(&context_);
    Check(stream->Write(Asking(31415, 27182)), "a request cannot be written");
    CheckNext(stream.get(), 31415);
    context_.TryCancel();
    CheckStatus(stream->Finish(), StatusCode::CANCELLED);
  }

  void TimeoutOnSleepingServer() {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1));
    const auto stream = stub_->FullDuplexCall(&context_);
    StreamingOutputCallRequest request;
    *request.mutable_payload() = Zeros(27182);
    stream->Write(request);
    CheckStatus(stream->Finish(), StatusCode::DEADLINE_EXCEEDED);
  }

  void CustomMetadata() {
    const std::string text = "test_initial_metadata_value", bytes = "\xab\xab\xab";
    const auto check = [&](grpc::ClientContext* context) {
      Check(HasMetadata(context->GetServerInitialMetadata(), kInitial, text), "the initial metadata is missing");
      Check(HasMetadata(context->GetServerTrailingMetadata(), kTrailing, bytes), "the trailing metadata is missing");
    };
    grpc::ClientContext unary;
    for (auto* context : {&unary, &context_}) {
      context->AddMetadata(kInitial, text);
      context->AddMetadata(kTrailing, bytes);
    }
    CheckLarge(&unary, Large());
    check(&unary);
    const auto stream = stub_->FullDuplexCall(&context_);
    stream->Write(Asking(314159, 271828));
    stream->WritesDone();
    CheckNext(stream.get(), 314159);
    CheckStatus(stream->Finish(), StatusCode::OK);
    check(&context_);
  }

  void StatusCodeAndMessage() {
    const std::string message = "test status message";
    CheckUnaryStatus(message);
    const auto stream = stub_->FullDuplexCall(&context_);
    StreamingOutputCallRequest request;
    request.mutable_response_status()->set_code(2);
    request.mutable_response_status()->set_message(message);
    stream->Write(request);
    stream->WritesDone();
    const Status status = stream->Finish();
    CheckStatus(status, StatusCode::UNKNOWN);
    Check(status.error_message() == message, "the message is '" + status.error_message() + "'");
  }

  void SpecialStatusMessage() {
    CheckUnaryStatus("\t\ntest with whitespace\r\nand Unicode BMP \xE2\x98\xBA and non-BMP \xF0\x9F\x98\x88\t\n");
  }

  void UnimplementedMethod() {
    Empty response;
    CheckStatus(stub_->UnimplementedCall(&context_, Empty(), &response), StatusCode::UNIMPLEMENTED);
  }

  void UnimplementedService() {
    Empty response;
    const auto stub = grpc::testing::UnimplementedService::NewStub(channel_);
    CheckStatus(stub->UnimplementedCall(&context_, Empty(), &response), StatusCode::UNIMPLEMENTED);
  }

  void ClientCompressedUnary() {
    SimpleRequest request = Large();
    request.mutable_expect_compressed()->set_value(true);
    SimpleResponse response;
    CheckStatus(stub_->UnaryCall(&context_, request, &response), StatusCode::INVALID_ARGUMENT);
    grpc::ClientContext compressed, plain;
    compressed.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    CheckLarge(&compressed, request);
    request.mutable_expect_compressed()->set_value(false);
    CheckLarge(&plain, request);
  }

  void ServerCompressedUnary() {
    for (const bool is_compressed : {true, false}) {
      SimpleRequest request = Large();
      request.mutable_response_compressed()->set_value(is_compressed);
      grpc::ClientContext context;
      CheckLarge(&context, request);
      Check(CameCompressed(context.c_call()) == is_compressed, "the response's compression is not as asked");
    }
  }

  void ClientCompressedStreaming() {
    const auto request = [](int size, bool is_compressed) {
      StreamingInputCallRequest request;
      *request.mutable_payload() = Zeros(size);
      request.mutable_expect_compressed()->set_value(is_compressed);
      return request;
    };
    StreamingInputCallResponse response;
    const auto probe = stub_->StreamingInputCall(&context_, &response);
    probe->Write(request(27182, true));
    probe->WritesDone();
    CheckStatus(probe->Finish(), StatusCode::INVALID_ARGUMENT);

    grpc::ClientContext context;
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    const auto writer = stub_->StreamingInputCall(&context, &response);
    Check(writer->Write(request(27182, true)), "a request cannot be written");
    Check(writer->Write(request(45904, false), grpc::WriteOptions().set_no_compression()), "a request cannot be written");
    writer->WritesDone();
    CheckStatus(writer->Finish(), StatusCode::OK);
    Check(response.aggregated_payload_size() == 73086, "the sum is wrong");
  }

  void ServerCompressedStreaming() {
    const std::vector<std::pair<bool, int>> wanted = {{true, 31415}, {false, 92653}};
    StreamingOutputCallRequest request;
    for (const auto& [is_compressed, size] : wanted) {
      auto* parameters = request.add_response_parameters();
      parameters->mutable_compressed()->set_value(is_compressed);
      parameters->set_size(size);
    }
    const auto reader = stub_->StreamingOutputCall(&context_, request);
    for (const auto& [is_compressed, size] : wanted) {
      CheckNext(reader.get(), size);
      Check(CameCompressed(context_.c_call()) == is_compressed, "the response's compression is not as asked");
    }
    CheckStatus(reader->Finish(), StatusCode::OK);
  }

  void RPCSoak() {
    for (int i = 0; i < 10; i++) LargeUnary();
  }

 private:
  static grpc::ChannelArguments Arguments() {
    grpc::ChannelArguments arguments;
    // A channel is a connection of its own.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    if (UsesTLS()) arguments.SetSslTargetNameOverride(flags["server_host_override"]);
    return arguments;
  }

  static std::shared_ptr<grpc::ChannelCredentials> Credentials() {
    if (!UsesTLS()) return grpc::InsecureChannelCredentials();
    return grpc::SslCredentials(
        {Contents(flags["ca_file"]), Contents(flags["tls_key_file"]), Contents(flags["tls_cert_file"])});
  }

  template <typename Reader>
  void CheckNext(Reader* reader, size_t size) {
    StreamingOutputCallResponse response;
    Check(reader->Read(&response), "a response is missing");
    Check(response.payload().body().size() == size, "a response has the wrong size");
  }

  void CheckLarge(grpc::ClientContext* context, const SimpleRequest& request) {
    SimpleResponse response;
    CheckStatus(stub_->UnaryCall(context, request, &response), StatusCode::OK);
    Check(response.payload().body() == std::string(314159, '\0'), "the response's payload is wrong");
  }

  void CheckUnaryStatus(const std::string& message) {
    SimpleRequest request;
    SimpleResponse response;
    request.mutable_response_status()->set_code(2);
    request.mutable_response_status()->set_message(message);
    grpc::ClientContext context;
    const Status status = stub_->UnaryCall(&context, request, &response);
    CheckStatus(status, StatusCode::UNKNOWN);
    Check(status.error_message() == message, "the message is '" + status.error_message() + "'");
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<TestService::Stub> stub_;
  grpc::ClientContext context_;
};

const std::map<std::string, void (Cases::*)()> kCases = {
    {"empty_unary", &Cases::EmptyUnary},
    {"large_unary", &Cases::LargeUnary},
    {"client_streaming", &Cases::ClientStreaming},
    {"server_streaming", &Cases::ServerStreaming},
    {"ping_pong", &Cases::PingPong},
    {"empty_stream", &Cases::EmptyStream},
    {"cancel_after_begin", &Cases::CancelAfterBegin},
    {"cancel_after_first_response", &Cases::CancelAfterFirstResponse},
    {"timeout_on_sleeping_server", &Cases::TimeoutOnSleepingServer},
    {"custom_metadata", &Cases::CustomMetadata},
    {"status_code_and_message", &Cases::StatusCodeAndMessage},
    {"special_status_message", &Cases::SpecialStatusMessage},
    {"unimplemented_method", &Cases::UnimplementedMethod},
    {"unimplemented_service", &Cases::UnimplementedService},
    {"client_compressed_unary", &Cases::ClientCompressedUnary},
    {"server_compressed_unary", &Cases::ServerCompressedUnary},
    {"client_compressed_streaming", &Cases::ClientCompressedStreaming},
    {"server_compressed_streaming", &Cases::ServerCompressedStreaming},
    {"rpc_soak", &Cases::RPCSoak},
};

int RunCase(const std::string& endpoint, const std::string& name) {
  if (name == "channel_soak") {
    for (int i = 0; i < 10; i++) Cases(endpoint).LargeUnary();
    return 0;
  }
  const auto found = kCases.find(name);
  Check(found != kCases.end(), "no case is called " + name);
  Cases cases(endpoint);
  (cases.*found->second)();
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  flags["server_host"] = "127.0.0.1";
  for (int i = 2; i < count; i++) {
    const std::string argument = arguments[i];
    const auto equals = argument.find('=');
    if (argument.rfind("--", 0) == 0 && equals != std::string::npos) {
      flags[argument.substr(2, equals - 2)] = argument.substr(equals + 1);
    }
  }
  const std::string role = count > 1 ? arguments[1] : "";
  if (role == "server") return Serve();
  if (role == "client") return RunCase(flags["server_host"] + ":" + flags["server_port"], flags["test_case"]);
  std::cerr << "usage: peer server | peer client --server_port=PORT --test_case=CASE" << std::endl;
  return 64;
}
