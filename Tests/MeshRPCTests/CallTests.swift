import Glibc
import MeshRPC
import Messages
import Synchronization
import Testing

@Suite struct CallTests {
  @Test func aUnaryCallAnswersWithTheHandlersResponse() async throws {
    try await withServer(TestService { _ in }) { channel in
      try await channel.expectEcho("hello")
    }
  }

  @Test func oneConnectionCarriesManyCallsAtOnce() async throws {
    try await withServer(TestService { _ in }) { channel in
      try await withThrowingTaskGroup(of: Bool.self) { group in
        for number in 0..<500 {
          group.addTask { try await channel.unary(echo, Text("\(number)")) == Text("\(number)") }
        }
        for try await isEcho in group { #expect(isEcho) }
      }
    }
  }

  @Test func moreCallsThanTheServerAllowsWaitForTheirTurn() async throws {
    var limits = ServerLimits()
    limits.maximumConcurrentCalls = 4
    try await withServer(TestService { _ in }, limits: limits) { channel in
      // The first answer brings the server's settings; before it, a client may take the server for unlimited.
      _ = try await channel.unary(echo, Text(""))
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<100 {
          group.addTask { try await channel.expectEcho("\(number)") }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test(arguments: [0, 1, 16_379, 16_380, 65_535, 1 << 20, (4 << 20) - 16])
  func aMessageOfAnySizeBelowTheLimitPasses(byteCount: Int) async throws {
    try await withServer(TestService { _ in }) { channel in
      try await channel.expectEcho(String(repeating: "x", count: byteCount))
    }
  }

  @Test func aServerStreamEndsAfterItsLastMessage() async throws {
    let count = TextMethod(service: "test.Streams", method: "Count")
    let service = TestService { router in
      router.serverStreaming(count) { request, responses, _ in
        for number in 0..<(Int(request.name) ?? 0) { try await responses.write(Text("\(number)")) }
      }
    }
    try await withServer(service) { channel in
      for length in [0, 1, 1000] {
        var received: [String] = []
        for try await response in try await channel.serverStreaming(count, Text("\(length)")) {
          received.append(response.name)
        }
        #expect(received == (0..<length).map(String.init))
      }
    }
  }

  @Test func aServerStreamMayEndInAnErrorAfterItsMessages() async throws {
    let count = TextMethod(service: "test.Streams", method: "Fail")
    let service = TestService { router in
      router.serverStreaming(count) { _, responses, _ in
        try await responses.write(Text("one"))
        throw RPCError(.outOfRange, "no two")
      }
    }
    try await withServer(service) { channel in
      var iterator = try await channel.serverStreaming(count, Text()).makeAsyncIterator()
      #expect(try await iterator.next() == Text("one"))
      let error = await rpcError { _ = try await iterator.next() }
      #expect(error == RPCError(.outOfRange, "no two"))
    }
  }

  @Test func aClientStreamGetsOneAnswerToAllItsMessages() async throws {
    let sum = TextMethod(service: "test.Streams", method: "Sum")
    let service = TestService { router in
      router.clientStreaming(sum) { requests, _ in
        var total = 0
        for try await request in requests { total += Int(request.name) ?? 0 }
        return Text("\(total)")
      }
    }
    try await withServer(service) { channel in
      let call: BidirectionalCall<Text, Text> = try await channel.bidirectional(sum)
      for number in 1...100 { try await call.write(Text("\(number)")) }
      call.finishWriting()
      var iterator = call.responses.makeAsyncIterator()
      #expect(try await iterator.next() == Text("5050"))
      #expect(try await iterator.next() == nil)
    }
  }

  @Test func bothSidesOfABidirectionalCallTakeTurns() async throws {
    let chat = TextMethod(service: "test.Streams", method: "Chat")
    let service = TestService { router in
      router.bidirectional(chat) { requests, responses, _ in
        for try await request in requests { try await responses.write(Text("re: " + request.name)) }
      }
    }
    try await withServer(service) { channel in
      let call = try await channel.bidirectional(chat)
      var iterator = call.responses.makeAsyncIterator()
      for number in 0..<100 {
        try await call.write(Text("\(number)"))
        #expect(try await iterator.next() == Text("re: \(number)"))
      }
      call.finishWriting()
      #expect(try await iterator.next() == nil)
    }
  }

  @Test func aHandlerMayAnswerAndEndWhileTheCallerStillWrites() async throws {
    let refuse = TextMethod(service: "test.Streams", method: "Refuse")
    let service = TestService { router in
      router.bidirectional(refuse) { _, _, _ in throw RPCError(.permissionDenied, "not you") }
    }
    try await withServer(service) { channel in
      let call = try await channel.bidirectional(refuse)
      let error = await rpcError {
        while true { try await call.write(Text(String(repeating: "x", count: 10_000))) }
      }
      #expect(error == RPCError(.permissionDenied, "not you"))
    }
  }

  @Test func callsToOneServiceReachItOverAUnixSocketToo() async throws {
    let path = temporarySocketPath()
    let whoami = TextMethod(service: "test.Peer", method: "WhoAmI")
    let server = RPCServer(services: [
      TestService { router in
        router.unary(whoami) { _, call in
          guard let credentials = call.peer.unixCredentials else { return Text("unknown") }
          return Text("\(credentials.processID) \(credentials.userID) \(credentials.groupID)")
        }
      }
    ])
    let endpoint = try await server.bind(.unix(path: path))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      let channel = RPCChannel(endpoint)
      let response = try await channel.unary(whoami, Text())
      #expect(response.name == "\(getpid()) \(getuid()) \(getgid())")
      await channel.close()
      group.cancelAll()
    }
    #expect(access(path, F_OK) != 0, "the server removes its socket")
  }

  @Test func anInheritedListeningSocketIsServed() async throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutableBytes(of: &address) { bytes in
      guard let address = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return }
      #expect(Glibc.bind(descriptor, address, length) == 0)
      #expect(getsockname(descriptor, address, &length) == 0)
    }
    #expect(listen(descriptor, 16) == 0)
    let server = RPCServer(services: [echoService])
    try await server.serve(listeningSocket: descriptor)
    let channel = RPCChannel(.tcp(host: "127.0.0.1", port: Int(address.sin_port.bigEndian)))
    try await channel.expectEcho("hello")
    await channel.close()
    let running = Task { try await server.run() }
    running.cancel()
    try await running.value
  }
}
