import Services

/// What waits to be sent in one session. It is not bounded by itself: a coordinator that does not read does not answer
/// heartbeats either, and the session ends with the lease.
package struct Outbox: Sendable {
  let messages: AsyncStream<AgentMessage>
  private let queue: AsyncStream<AgentMessage>.Continuation

  init() { (messages, queue) = AsyncStream.makeStream() }

  package func send(_ kind: AgentMessage.Kind) { queue.yield(AgentMessage { $0.kind = kind }) }

  /// No more will be sent: the session ends.
  package func finish() { queue.finish() }
}
