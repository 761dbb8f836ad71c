import MeshRPC
import Testing

/// What threads hand to one task.
struct MailboxTests {
  @Test func whatWaitsIsTakenAtOnceInItsOrder() async throws {
    let mailbox = Mailbox<Int>()
    for number in 0..<3 { mailbox.put(number) }
    #expect(try await mailbox.take() == [0, 1, 2])
  }

  @Test func whoeverWaitsGetsWhatComesFirst() async throws {
    let mailbox = Mailbox<Int>()
    async let taken = mailbox.take()
    await Task.yield()
    mailbox.put(7)
    #expect(try await taken == [7])
  }

  @Test func nothingIsLostOrOvertakenBetweenThreads() async throws {
    let mailbox = Mailbox<Int>()
    async let taken = Array(mailbox)
    await withTaskGroup { group in
      for writer in 0..<8 { group.addTask { for number in 0..<500 { mailbox.put(writer * 1000 + number) } } }
    }
    mailbox.finish()
    let all = try await taken
    for writer in 0..<8 { #expect(all.filter { $0 / 1000 == writer } == (0..<500).map { writer * 1000 + $0 }) }
    #expect(all.count == 4000)
  }

  @Test func whatWaitsAtTheEndIsTakenBeforeTheErrorIsTold() async throws {
    let mailbox = Mailbox<Int>()
    mailbox.put(1)
    mailbox.finish(throwing: RPCError(.unavailable, "over"))
    mailbox.finish()
    #expect(mailbox.change { $0.append(2) } == nil)
    #expect(try await mailbox.take() == [1])
    await #expect(throws: RPCError.self) { try await mailbox.take() }
  }

  @Test func anEndWithoutAnErrorEndsTheLoop() async throws {
    let mailbox = Mailbox<Int>()
    async let taken = Array(mailbox)
    mailbox.put(1)
    mailbox.finish()
    #expect(try await taken == [1])
  }

  @Test func aTaskThatIsCancelledTakesNoMore() async throws {
    let mailbox = Mailbox<Int>()
    let waiting = Task { try await mailbox.take() }
    await Task.yield()
    waiting.cancel()
    #expect(try await waiting.value == nil)
    #expect(mailbox.change { $0.append(1) } == nil)
  }
}

extension Array {
  fileprivate init(_ mailbox: Mailbox<Element>) async throws where Element: Sendable {
    self.init()
    for try await element in mailbox { append(element) }
  }
}
