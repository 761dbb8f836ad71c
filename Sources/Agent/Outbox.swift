import Reconciliation
import Services

/// What waits to be sent in one session. It is not bounded by itself: a coordinator that does not read does not answer
/// heartbeats either, and the session ends with the lease.
package struct Outbox: Sendable {
  private let messages = Mailbox<AgentMessage.Kind>()

  package func send(_ kind: AgentMessage.Kind) {
    messages.change { messages in
      if let both = messages.last.flatMap({ $0.followed(by: kind) }) {
        messages[messages.count - 1] = both
      } else {
        messages.append(kind)
      }
    }
  }

  /// No more will be sent: the session ends.
  package func finish() { messages.finish() }

  /// Hands everything to `write`, in order; returns when no more will be sent.
  func drain(_ write: (AgentMessage) async throws -> Void) async throws {
    for try await kind in messages { try await write(AgentMessage { $0.kind = kind }) }
  }
}

extension AgentMessage.Kind {
  /// One report that says what two say of which the first has not been sent yet: of a function that both are about, what the later
  /// one says. nil: they are two messages. What proves something, or went wrong, is always said.
  fileprivate func followed(by next: AgentMessage.Kind) -> AgentMessage.Kind? {
    guard case .functions(let report) = self, case .functions(var later) = next, report.epoch == later.epoch,
      report.bootId == later.bootId, !later.complete
    else { return nil }
    let news = Set(later.functions.map(FunctionKey.init))
    let replaced = report.functions.filter { news.contains(FunctionKey($0)) }
    guard replaced.allSatisfy({ $0.phase != .absent && $0.error == nil }) else { return nil }
    later.functions = report.functions.filter { !news.contains(FunctionKey($0)) } + later.functions
    later.complete = report.complete
    return .functions(later)
  }
}
