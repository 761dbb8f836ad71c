import Messages
import Services

/// What waits to be written to one agent.
struct SessionOutbox: Sendable {
  /// Messages are few: one for every decision about the host, and one for every heartbeat. An agent that is this far
  /// behind does not read.
  static let capacity = 1024

  let messages = Mailbox<CoordinatorMessage>()

  /// False if the agent is too far behind.
  func send(_ message: CoordinatorMessage) -> Bool {
    messages.change { messages in
      guard messages.count < Self.capacity else { return false }
      messages.append(message)
      return true
    } ?? true
  }

  /// Ends the agent's stream, with an error if there is one to tell.
  func end(_ error: (any Error)?) { messages.finish(throwing: error) }
}
