import Synchronization

/// What any thread hands to one task, which takes all that waits at once, in its order.
///
/// An `AsyncStream` does the same one by one, through code that knows its elements only when it runs: for what comes often and is
/// handled fast, that is most of the work.
public final class Mailbox<Element: Sendable>: AsyncSequence, Sendable {
  @usableFromInline typealias Served = (UnsafeContinuation<[Element]?, any Error>, Result<[Element]?, any Error>)

  @usableFromInline struct State: Sendable {
    @usableFromInline var waiting: [Element] = []
    @usableFromInline var taker: UnsafeContinuation<[Element]?, any Error>?
    @usableFromInline var end: Result<Void, any Error>?

    @inlinable init() {}

    /// nil: there is nothing to be had yet.
    @inlinable mutating func take() -> Result<[Element]?, any Error>? {
      guard waiting.isEmpty else {
        defer { waiting = [] }
        return .success(waiting)
      }
      return end?.map { nil }
    }

    /// Whoever waits and need not wait any more.
    @inlinable mutating func serve() -> Served? {
      guard let waiter = taker, let result = take() else { return nil }
      taker = nil
      return (waiter, result)
    }
  }

  @usableFromInline let state = Mutex(State())

  @inlinable public init() {}

  /// Puts something behind what waits.
  @inlinable public func put(_ element: Element) { change { $0.append(element) } }

  /// Changes what waits to be taken; nothing once it has ended.
  @inlinable public func change<Answer: Sendable>(_ body: (inout [Element]) -> Answer) -> Answer? {
    let (answer, served) = state.withLock { state -> (Answer?, Served?) in
      guard state.end == nil else { return (nil, nil) }
      return (body(&state.waiting), state.serve())
    }
    if let (waiter, result) = served { waiter.resume(with: result) }
    return answer
  }

  /// Nothing more comes. What waits can still be taken; then the task is told of the error, if there is one.
  @inlinable public func finish(throwing error: (any Error)? = nil) {
    let served = state.withLock { state in
      state.end = state.end ?? error.map(Result.failure) ?? .success(())
      return state.serve()
    }
    if let (waiter, result) = served { waiter.resume(with: result) }
  }

  /// All that waits, or what comes first; nil after the end. For one task at a time; when that is cancelled, nothing more comes.
  @inlinable public func take() async throws -> [Element]? {
    if let ready = state.withLock({ $0.take() }) { return try ready.get() }
    return try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        let ready = state.withLock { state in
          let ready = state.take()
          precondition(state.taker == nil, "two tasks take from one mailbox")
          if ready == nil { state.taker = continuation }
          return ready
        }
        if let ready { continuation.resume(with: ready) }
      }
    } onCancel: {
      finish()
    }
  }

  @inlinable public func makeAsyncIterator() -> Iterator { Iterator(self) }

  public struct Iterator: AsyncIteratorProtocol {
    @usableFromInline let mailbox: Mailbox
    @usableFromInline var taken: [Element] = []
    @usableFromInline var next = 0

    @inlinable init(_ mailbox: Mailbox) { self.mailbox = mailbox }

    @inlinable public mutating func next() async throws -> Element? {
      if next == taken.count {
        guard let taken = try await mailbox.take() else { return nil }
        self.taken = taken
        next = 0
      }
      defer { next += 1 }
      return taken[next]
    }
  }
}
