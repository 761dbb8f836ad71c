/// The test cases of the gRPC project's interop-test-descriptions document. Those for clouds' identities are left out, and
/// cacheable_unary, which needs a caching proxy.
public enum InteropCase: String, CaseIterable, Sendable {
  case emptyUnary = "empty_unary"
  case largeUnary = "large_unary"
  case clientStreaming = "client_streaming"
  case serverStreaming = "server_streaming"
  case pingPong = "ping_pong"
  case emptyStream = "empty_stream"
  case cancelAfterBegin = "cancel_after_begin"
  case cancelAfterFirstResponse = "cancel_after_first_response"
  case timeoutOnSleepingServer = "timeout_on_sleeping_server"
  case customMetadata = "custom_metadata"
  case statusCodeAndMessage = "status_code_and_message"
  case specialStatusMessage = "special_status_message"
  case unimplementedMethod = "unimplemented_method"
  case unimplementedService = "unimplemented_service"
  case clientCompressedUnary = "client_compressed_unary"
  case serverCompressedUnary = "server_compressed_unary"
  case clientCompressedStreaming = "client_compressed_streaming"
  case serverCompressedStreaming = "server_compressed_streaming"
  case rpcSoak = "rpc_soak"
  case channelSoak = "channel_soak"
}

/// The server did not do what a case asks of it.
public struct InteropFailure: Error, CustomStringConvertible {
  public let description: String
}

func expect<Value: Equatable>(_ what: String, _ found: Value, is expected: Value) throws(InteropFailure) {
  guard found != expected else { return }
  throw InteropFailure(description: "\(what) is \(found), and should be \(expected)")
}
