import MeshRPC
import Messages
import Testing

@Suite struct StatusTests {
  static let fail = TextMethod(service: "test.Status", method: "Fail")

  @Test(arguments: StatusCode.allCases.filter { $0 != .ok })
  func aHandlersErrorReachesTheCaller(code: StatusCode) async throws {
    let service = TestService { router in
      router.unary(Self.fail) { _, _ in throw RPCError(code, "100 % of Grüße\nline two") }
    }
    try await withServer(service) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.fail, Text()) }
      #expect(error?.code == code)
      #expect(error?.message == "100 % of Grüße\nline two")
    }
  }

  @Test(arguments: ["ends in a blank ", " begins with one", " ", "  two  "])
  func blanksAtItsEndsAreOfTheMessage(message: String) async throws {
    let service = TestService { router in router.unary(Self.fail) { _, _ in throw RPCError(.unavailable, message) } }
    try await withServer(service) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.fail, Text()) }
      #expect(error == RPCError(.unavailable, message))
    }
  }

  /// The peer would refuse the trailers, and the caller would learn nothing of it.
  @Test func ofAMessageThatIsTooLongTheEndIsLeftOut() async throws {
    let long = RPCError(.failedPrecondition, String(repeating: "ü ist lang\n", count: 4000))
    let service = TestService { router in router.unary(Self.fail) { _, _ in throw long } }
    try await withServer(service) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.fail, Text()) }
      #expect(error?.code == .failedPrecondition)
      #expect(error?.message.hasPrefix("ü ist lang\nü ist lang\n") == true && error?.message.hasSuffix("…") == true)
      #expect(error?.message.utf8.count ?? 0 > 2000)
    }
  }

  @Test func anErrorOfAnyOtherTypeIsUnknownAndSaysWhatItWas() async throws {
    struct Broken: Error, CustomStringConvertible { let description = "the spring broke" }
    let service = TestService { router in router.unary(Self.fail) { _, _ in throw Broken() } }
    try await withServer(service) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.fail, Text()) }
      #expect(error == RPCError(.unknown, "the spring broke"))
    }
  }

  @Test func aMethodOrServiceThatDoesNotExistIsUnimplemented() async throws {
    try await withServer(TestService { _ in }) { channel in
      let noMethod = await rpcError {
        _ = try await channel.unary(TextMethod(service: "test.Echo", method: "Shout"), Text())
      }
      #expect(noMethod?.code == .unimplemented)
      #expect(noMethod?.message.contains("Shout") == true)
      let noService = await rpcError {
        _ = try await channel.unary(TextMethod(service: "test.None", method: "Echo"), Text())
      }
      #expect(noService?.code == .unimplemented)
      #expect(noService?.message.contains("test.None") == true)
    }
  }

  @Test func metadataTravelsBothWays() async throws {
    let reflect = TextMethod(service: "test.Status", method: "Reflect")
    let service = TestService { router in
      router.unary(reflect) { _, call in
        var metadata = Metadata()
        metadata.add("seen", .text(call.metadata["word"] ?? "nothing"))
        metadata.add("seen-bin", .bytes((call.metadata.bytes("blob-bin") ?? []).reversed()))
        call.setTrailingMetadata(metadata)
        throw RPCError(.aborted, "look at the trailers", metadata: ["reason": "reflection"])
      }
    }
    try await withServer(service) { channel in
      for length in 0...7 {
        let blob = (0..<length).map { UInt8(truncatingIfNeeded: 255 - $0) }
        var metadata: Metadata = ["Word": "a value, with a comma"]
        metadata.add("blob-bin", .bytes(blob))
        let error = await rpcError {
          _ = try await channel.unary(reflect, Text(), options: CallOptions(metadata: metadata))
        }
        #expect(error?.code == .aborted)
        #expect(error?.metadata["seen"] == "a value, with a comma")
        #expect(error?.metadata["reason"] == "reflection")
        #expect(error?.metadata.bytes("seen-bin") == blob.reversed())
      }
    }
  }

  @Test func metadataThatHTTPCannotCarryDoesNotBreakTheCall() async throws {
    try await withServer(TestService { _ in }) { channel in
      let metadata: Metadata = [
        "line": "one\r\ntwo: injected", "umlaut": "ü", ":path": "/elsewhere", "te": "gzip", "bad name": "x", "": "y",
        "connection": "close",
      ]
      let options = CallOptions(metadata: metadata)
      try await channel.expectEcho("hello", options: options)
    }
  }

  @Test func aRequestAboveTheLimitIsRefusedBeforeItIsRead() async throws {
    var limits = ServerLimits()
    limits.maximumMessageByteCount = 1000
    try await withServer(TestService { _ in }, limits: limits) { channel in
      try await channel.expectEcho("short")
      let error = await rpcError { _ = try await channel.unary(echo, Text(String(repeating: "x", count: 2 << 20))) }
      #expect(error?.code == .resourceExhausted)
      #expect(error?.message.contains("1000") == true)
      try await channel.expectEcho("short")
    }
  }

  @Test func aResponseAboveTheLimitEndsItsCallAndNoOther() async throws {
    var limits = ChannelLimits()
    limits.maximumMessageByteCount = 1000
    try await withServer(TestService { _ in }, channelLimits: limits) { channel in
      let error = await rpcError { _ = try await channel.unary(echo, Text(String(repeating: "x", count: 2 << 20))) }
      #expect(error?.code == .resourceExhausted)
      try await channel.expectEcho("short")
    }
  }
}
