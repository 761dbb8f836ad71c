import MeshRPC
import Messages
import Synchronization
import Testing

/// Deadlines, cancellation and back-pressure: who stops whom.
@Suite(.timeLimit(.minutes(2))) struct EndsOfCallsTests {
  static let hang = TextMethod(service: "test.Ends", method: "Hang")
  static let stream = TextMethod(service: "test.Ends", method: "Stream")
  static let chat = TextMethod(service: "test.Ends", method: "Chat")

  @Test func aDeadlineEndsTheCallOnBothSides() async throws {
    let started = Signal()
    let cancelled = Signal()
    let service = TestService { router in
      router.unary(Self.hang) { request, call in
        #expect(call.deadline != nil)
        started.raise()
        await cancelled.raiseWhenCancelled()
        return request
      }
    }
    try await withServer(service) { channel in
      try await channel.expectEcho("the connection is made")
      let error = await rpcError {
        _ = try await channel.unary(Self.hang, Text(), options: CallOptions(timeout: .milliseconds(250)))
      }
      #expect(error?.code == .deadlineExceeded)
      // On a machine so busy that the call did not reach its handler in time, there is nobody to cancel.
      if started.isRaised { await cancelled.wait() }
    }
  }

  @Test func callsWithDeadlinesOfTheirOwnEndEachAtItsOwn() async throws {
    let service = TestService { router in
      router.unary(Self.hang) { request, _ in
        await Signal().raiseWhenCancelled()
        return request
      }
    }
    try await withServer(service) { channel in
      let start = ContinuousClock.now
      await withTaskGroup(of: Void.self) { group in
        for milliseconds in [200, 20, 100, 60] {
          group.addTask {
            let options = CallOptions(timeout: .milliseconds(milliseconds))
            let error = await rpcError { _ = try await channel.unary(Self.hang, Text(), options: options) }
            #expect(error?.code == .deadlineExceeded)
            #expect(ContinuousClock.now - start >= .milliseconds(milliseconds))
          }
        }
      }
    }
  }

  @Test func aDeadlineAlsoHoldsWhileConnecting() async throws {
    // 192.0.2.0/24 is set aside for documentation (RFC 5737): nobody answers, or nobody can be reached.
    let channel = RPCChannel(.tcp(host: "192.0.2.1", port: 9))
    let error = await rpcError {
      _ = try await channel.unary(echo, Text(), options: CallOptions(timeout: .milliseconds(50)))
    }
    #expect(error?.code == .deadlineExceeded || error?.code == .unavailable)
    await channel.close()
  }

  @Test func cancellingTheCallersTaskCancelsTheHandler() async throws {
    let started = Signal()
    let cancelled = Signal()
    let service = TestService { router in
      router.unary(Self.hang) { request, _ in
        started.raise()
        await cancelled.raiseWhenCancelled()
        return request
      }
    }
    try await withServer(service) { channel in
      let call = Task { await rpcError { _ = try await channel.unary(Self.hang, Text()) } }
      await started.wait()
      call.cancel()
      #expect(await call.value?.code == .cancelled)
      await cancelled.wait()
    }
  }

  @Test func aCallFromACancelledTaskIsNotMade() async throws {
    try await withServer(TestService { _ in }) { channel in
      let ready = Signal()
      let call = Task {
        await ready.wait()
        return await rpcError { _ = try await channel.unary(echo, Text()) }
      }
      call.cancel()
      ready.raise()
      #expect(await call.value?.code == .cancelled)
    }
  }

  @Test func droppingAResponseStreamCancelsTheHandler() async throws {
    let cancelled = Signal()
    let service = TestService { router in
      router.serverStreaming(Self.stream) { request, responses, _ in
        try await responses.write(request)
        await cancelled.raiseWhenCancelled()
      }
    }
    try await withServer(service) { channel in
      for try await _ in try await channel.serverStreaming(Self.stream, Text("one")) { break }
      await cancelled.wait()
    }
  }

  @Test func losingTheConnectionCancelsTheHandler() async throws {
    let started = Signal()
    let cancelled = Signal()
    let service = TestService { router in
      router.unary(Self.hang) { request, _ in
        started.raise()
        await cancelled.raiseWhenCancelled()
        return request
      }
    }
    try await withServer(service) { channel in
      async let error = rpcError { _ = try await channel.unary(Self.hang, Text()) }
      await started.wait()
      await channel.close()
      await cancelled.wait()
      #expect(await error != nil)
    }
  }

  @Test func aHandlersOwnErrorOutlivesTheChildTaskThatItCancels() async throws {
    let service = TestService { router in
      router.bidirectional(Self.chat) { requests, _, _ in
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { for try await _ in requests {} }
          group.addTask { throw RPCError(.failedPrecondition, "stale epoch") }
          defer { group.cancelAll() }
          try await group.next()
        }
      }
    }
    try await withServer(service) { channel in
      let call = try await channel.bidirectional(Self.chat)
      var iterator = call.responses.makeAsyncIterator()
      let error = await rpcError { _ = try await iterator.next() }
      #expect(error == RPCError(.failedPrecondition, "stale epoch"))
    }
  }

  @Test func aHandlerIsToldWhenItsCallerIsGone() async throws {
    let ended = Signal()
    let service = TestService { router in
      router.bidirectional(Self.chat) { requests, responses, _ in
        for try await request in requests { try await responses.write(request) }
        await ended.raiseWhenCancelled()
        // The caller has gone: nothing can be written any more.
        let error = await rpcError { try await responses.write(Text("too late")) }
        #expect(error?.code == .cancelled)
      }
    }
    try await withServer(service) { channel in
      let call = try await channel.bidirectional(Self.chat)
      var iterator = call.responses.makeAsyncIterator()
      try await call.write(Text("one"))
      #expect(try await iterator.next() == Text("one"))
      call.finishWriting()
      call.cancel()
      let error = await rpcError { _ = try await iterator.next() }
      #expect(error?.code == .cancelled)
    }
  }

  // MARK: Back-pressure

  static let messageByteCount = 16 << 10
  static let messageCount = 1024
  /// What may be on the way to a reader that does not read: a stream's window, the writer's buffer, and a message.
  static let onTheWay = ((256 << 10) + ServerLimits().sendBufferByteCount + (64 << 10)) / messageByteCount

  @Test func aReaderWhoDoesNotReadStopsTheHandler() async throws {
    let counter = Counter()
    let begun = Signal()
    let block = Text(String(repeating: "x", count: Self.messageByteCount))
    let service = TestService { router in
      router.serverStreaming(Self.stream) { _, responses, _ in
        for _ in 0..<Self.messageCount {
          try await responses.write(block)
          counter.increment()
          begun.raise()
        }
      }
    }
    try await withServer(service) { channel in
      let responses = try await channel.serverStreaming(Self.stream, Text())
      await begun.wait()
      // Other calls go on over the same connection, and give the handler all the time it could use.
      for _ in 0..<200 { _ = try await channel.unary(echo, Text("hello")) }
      #expect(counter.value <= Self.onTheWay)
      var received = 0
      for try await response in responses {
        #expect(response == block)
        received += 1
      }
      #expect(received == Self.messageCount)
    }
  }

  @Test func aHandlerWhoDoesNotReadStopsTheCaller() async throws {
    let mayRead = Signal()
    let block = Text(String(repeating: "x", count: Self.messageByteCount))
    let service = TestService { router in
      router.bidirectional(Self.chat) { requests, responses, _ in
        await mayRead.wait()
        var received = 0
        for try await _ in requests { received += 1 }
        try await responses.write(Text("\(received)"))
      }
    }
    try await withServer(service) { channel in
      let counter = Counter()
      let begun = Signal()
      let call = try await channel.bidirectional(Self.chat)
      async let writing: Void = {
        for _ in 0..<Self.messageCount {
          try await call.write(block)
          counter.increment()
          begun.raise()
        }
        call.finishWriting()
      }()
      await begun.wait()
      for _ in 0..<200 { _ = try await channel.unary(echo, Text("hello")) }
      #expect(counter.value <= Self.onTheWay)
      mayRead.raise()
      try await writing
      var iterator = call.responses.makeAsyncIterator()
      #expect(try await iterator.next() == Text("\(Self.messageCount)"))
    }
  }
}

final class Counter: Sendable {
  private let count = Atomic(0)
  var value: Int { count.load(ordering: .sequentiallyConsistent) }
  func increment() { count.add(1, ordering: .sequentiallyConsistent) }
}
