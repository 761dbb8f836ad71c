import Messages

/// What waits to be written to one agent.
struct SessionOutbox: Sendable {
  /// Messages are few: one for every decision about the host, and one for every heartbeat. An agent that is this far
  /// behind does not read.
  static let capacity = 1024

  private let messages: AsyncThrowingStream<CoordinatorMessage, any Error>.Continuation

  static func make() -> (SessionOutbox, AsyncThrowingStream<CoordinatorMessage, any Error>) {
    let (stream, continuation) = AsyncThrowingStream.makeStream(
      of: CoordinatorMessage.self, throwing: (any Error).self, bufferingPolicy: .bufferingOldest(capacity))
    return (SessionOutbox(messages: continuation), stream)
  }

  /// False if the agent is too far behind.
  func send(_ message: CoordinatorMessage) -> Bool {
    if case .dropped = messages.yield(message) { false } else { true }
  }

  /// Ends the agent's stream, with an error if there is one to tell.
  func end(_ error: (any Error)?) { messages.finish(throwing: error) }
}
