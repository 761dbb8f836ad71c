import Services
import Testing

@testable import Agent

/// What an agent says when it has more to say than it has sent.
struct OutboxTests {
  private func report(_ phase: FunctionPhase, of function: String, _ change: (inout FunctionReport) -> Void = { _ in })
    -> AgentMessage.Kind
  {
    .functions(
      FunctionReport {
        $0.functions = [
          FunctionStatus {
            $0.function = VirtualFunction { $0.id = function }
            $0.phase = phase
          }
        ]
        change(&$0)
      })
  }

  /// The phases in each message, by function.
  private func sent(_ messages: [AgentMessage.Kind]) async throws -> [[String: FunctionPhase]] {
    let outbox = Outbox()
    for message in messages { outbox.send(message) }
    outbox.finish()
    var sent: [[String: FunctionPhase]] = []
    try await outbox.drain { message in
      guard case .functions(let report) = message.kind else { return sent.append([:]) }
      let phases = report.functions.map { ($0.function?.id ?? "", $0.phase) }
      sent.append(Dictionary(uniqueKeysWithValues: phases))
    }
    return sent
  }

  @Test func whatIsOvertakenBeforeItWasSentIsNotSaid() async throws {
    let messages = [report(.created, of: "f/1"), report(.created, of: "f/2"), report(.inUse, of: "f/1")]
    #expect(try await sent(messages) == [["f/1": .inUse, "f/2": .created]])
  }

  @Test func whatIsWhollySaidStaysWhole() async throws {
    let all = report(.created, of: "f/1") { $0.complete = true }
    #expect(try await sent([all, report(.inUse, of: "f/1")]).count == 1)
    #expect(try await sent([report(.inUse, of: "f/2"), all]).count == 2)
  }

  @Test func whatProvesSomethingOrWentWrongIsSaid() async throws {
    let absent = report(.absent, of: "f/1")
    #expect(try await sent([absent, report(.created, of: "f/1")]).count == 2)
    let failed = report(.created, of: "f/1") { $0.functions[0].error = FunctionError() }
    #expect(try await sent([failed, report(.inUse, of: "f/1")]).count == 2)
    #expect(try await sent([report(.created, of: "f/1") { $0.epoch = 1 }, report(.inUse, of: "f/1")]).count == 2)
  }

  @Test func otherMessagesKeepTheirPlace() async throws {
    let messages = [report(.created, of: "f/1"), .heartbeat(Heartbeat()), report(.inUse, of: "f/1")]
    #expect(try await sent(messages) == [["f/1": .created], [:], ["f/1": .inUse]])
  }

  @Test func aHostWithALeaseComesBackSooner() {
    var delay = RetryDelay(from: .milliseconds(200), to: .seconds(10))
    for _ in 0..<10 { _ = delay.next(atMost: .seconds(1), draw: 0) }
    #expect(delay.next(atMost: .seconds(1), draw: 1) == .seconds(1))
    #expect(delay.next(draw: 1) == .seconds(10))
  }
}
