import MeshRPC
import Messages
import Testing

/// Calls with one answer, and what comes beside their messages.
@Suite(.timeLimit(.minutes(2))) struct AnswerTests {
  static let sum = TextMethod(service: "test.Answers", method: "Sum")
  static let count = TextMethod(service: "test.Answers", method: "Count")

  /// Adds numbers up, in words beside them too.
  static let service = TestService { router in
    router.unary(Self.count) { request, call in
      call.setTrailingMetadata(["words": "counted"])
      return request
    }
    router.clientStreaming(sum) { requests, call in
      var total = 0
      for try await request in requests {
        guard let number = Int(request.name) else { throw RPCError(.invalidArgument, "'\(request.name)' is no number") }
        total += number
      }
      call.setTrailingMetadata(["words": "added up"])
      return Text("\(total)")
    }
  }

  @Test func aClientStreamIsAnsweredOnce() async throws {
    try await withServer(Self.service) { channel in
      let call = try await channel.clientStreaming(Self.sum)
      for number in 1...100 { try await call.write(Text("\(number)")) }
      #expect(try await call.response() == Text("5050"))
    }
  }

  @Test func aClientStreamWithoutMessagesIsAnsweredToo() async throws {
    try await withServer(Self.service) { channel in
      let answer = try await channel.clientStreaming(Self.sum).answer()
      #expect(answer.message == Text("0"))
      #expect(answer.initialMetadata.isEmpty)
      #expect(answer.trailingMetadata == ["words": "added up"])
    }
  }

  @Test func aServerMayRefuseAClientStreamBeforeItsEnd() async throws {
    try await withServer(Self.service) { channel in
      let call = try await channel.clientStreaming(Self.sum)
      let writing = await rpcError {
        while true { try await call.write(Text("not a number")) }
      }
      let answer = await rpcError { _ = try await call.response() }
      #expect(writing == RPCError(.invalidArgument, "'not a number' is no number"))
      #expect(answer == writing)
    }
  }

  @Test func aServerMayAnswerAClientStreamBeforeItsEnd() async throws {
    let service = TestService { router in
      router.clientStreaming(Self.sum) { requests, _ in
        for try await _ in requests { break }
        return Text("enough")
      }
    }
    try await withServer(service) { channel in
      let call = try await channel.clientStreaming(Self.sum)
      _ = await rpcError {
        while true { try await call.write(Text(String(repeating: "1", count: 10_000))) }
      }
      #expect(try await call.response() == Text("enough"))
    }
  }

  @Test(arguments: [true, false]) func aClientStreamThatIsGivenUpCancelsItsHandler(byDropping: Bool) async throws {
    let cancelled = Signal()
    let started = Signal()
    let service = TestService { router in
      router.clientStreaming(Self.sum) { _, _ in
        started.raise()
        await cancelled.raiseWhenCancelled()
        return Text()
      }
    }
    try await withServer(service) { channel in
      do {
        let call = try await channel.clientStreaming(Self.sum)
        try await call.write(Text("1"))
        await started.wait()
        if !byDropping {
          call.cancel()
          let error = await rpcError { _ = try await call.response() }
          #expect(error?.code == .cancelled)
        }
      }
      await cancelled.wait()
    }
  }

  @Test func cancellingTheTaskThatWaitsForAnAnswerCancelsTheHandler() async throws {
    let cancelled = Signal()
    let started = Signal()
    let service = TestService { router in
      router.clientStreaming(Self.sum) { _, _ in
        started.raise()
        await cancelled.raiseWhenCancelled()
        return Text()
      }
    }
    try await withServer(service) { channel in
      let call = try await channel.clientStreaming(Self.sum)
      let waiting = Task { await rpcError { _ = try await call.response() } }
      await started.wait()
      waiting.cancel()
      #expect(await waiting.value?.code == .cancelled)
      await cancelled.wait()
    }
  }

  @Test func aUnaryAnswerCarriesItsMetadata() async throws {
    try await withServer(Self.service) { channel in
      let answer = try await channel.answer(Self.count, Text("one"))
      #expect(answer.message == Text("one"))
      #expect(answer.trailingMetadata == ["words": "counted"])
    }
  }

  @Test func aStreamsMetadataComeBeforeAndAfterItsMessages() async throws {
    let mayEnd = Signal()
    let service = TestService { router in
      router.serverStreaming(Self.count) { request, responses, call in
        try await responses.write(request)
        await mayEnd.wait()
        call.setTrailingMetadata(["words": "done"])
      }
    }
    try await withServer(service) { channel in
      let responses = try await channel.serverStreaming(Self.count, Text("one"))
      #expect(try await responses.initialMetadata().isEmpty)
      #expect(responses.trailingMetadata.isEmpty)
      mayEnd.raise()
      var received: [Text] = []
      for try await response in responses { received.append(response) }
      #expect(received == [Text("one")])
      #expect(responses.trailingMetadata == ["words": "done"])
    }
  }

  @Test func aStreamThatFailsBeforeItsAnswerHasNoInitialMetadata() async throws {
    let service = TestService { router in
      router.serverStreaming(Self.count) { _, _, _ in
        throw RPCError(.notFound, "nothing to count", metadata: ["words": "none"])
      }
    }
    try await withServer(service) { channel in
      let responses = try await channel.serverStreaming(Self.count, Text())
      let error = await rpcError { _ = try await responses.initialMetadata() }
      #expect(error == RPCError(.notFound, "nothing to count", metadata: ["words": "none"]))
    }
  }
}
