import HTTP2Session
import NIOCore
import ProtobufRuntime
import Synchronization

/// A call as its caller sees it. Its attempts are streams one after the other, on whatever connections the channel has.
final class ClientStream: CallStream, @unchecked Sendable {
  private let firstHeaders: HeaderList
  /// The one message of a call that has one; the request ends with it.
  let onlyMessage: MessageBuffer?
  let waitsForReady: Bool
  private let observers: CallObservers?
  private let channel: ChannelCore
  var attempts = CallAttempts()
  private(set) var receivedResponseHeaders = false
  /// The call did not go out when it was made, so that less time is left of its timeout.
  private var isLate = false
  /// Who waits for the call to be on its way.
  private var opening: UnsafeContinuation<Void, any Error>?
  /// Who waits for the one answer.
  private var completion: UnsafeContinuation<ArraySlice<UInt8>, any Error>?
  /// Who waits for the answer to begin.
  private var beginnings: [UnsafeContinuation<Void, any Error>] = []
  private var isCancelled = false
  /// Written on the loop, read by whoever holds the call.
  private let received = Mutex(AnswerHeaders())

  init(
    headers: HeaderList, onlyMessage: MessageBuffer?, waitsForReady: Bool, observers: CallObservers?,
    channel: ChannelCore
  ) {
    firstHeaders = headers
    self.onlyMessage = onlyMessage
    self.waitsForReady = waitsForReady
    self.observers = observers
    self.channel = channel
    super.init(eventLoop: channel.eventLoop, maximumMessageByteCount: channel.limits.maximumMessageByteCount)
  }

  // MARK: The beginning

  /// Makes the call; returns when it is on its way.
  func begin() async throws {
    try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        channel.onLoop(beginning: self) { stream in stream.opening = continuation }
      }
    } onCancel: {
      cancel()
    }
  }

  /// Makes the call; returns with its one answer.
  func complete() async throws -> ArraySlice<UInt8> {
    try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        channel.onLoop(beginning: self) { stream in stream.completion = continuation }
      }
    } onCancel: {
      cancel()
    }
  }

  /// Says that this half of the call is whole, and returns with the one answer.
  func finishAndComplete() async throws -> ArraySlice<UInt8> {
    try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        onLoop {
          self.finishWriting()
          guard self.completion == nil else {
            return continuation.resume(throwing: RPCError(.internalError, "two tasks wait for one answer"))
          }
          self.completion = continuation
          self.serveCompletion()
        }
      }
    } onCancel: {
      cancel()
    }
  }

  /// Returns when the answer's headers are here, or the call has ended well without.
  func responseBegan() async throws {
    try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        onLoop {
          self.beginnings.append(continuation)
          self.serveBeginnings()
        }
      }
    } onCancel: {
      cancel()
    }
  }

  /// False if the call is over before it began.
  func mayBegin() -> Bool {
    if isCancelled { end(.cancelled) }
    return incomingEnd == nil
  }

  func isOpen() {
    if let onlyMessage {
      send(onlyMessage)
      finishWriting()
    }
    opening?.resume()
    opening = nil
  }

  // MARK: Attempts

  /// The request of the attempt that is made now.
  var headers: HeaderList { attempts.previous == 0 && !isLate ? firstHeaders : laterHeaders }

  private var laterHeaders: HeaderList {
    var fields = HeaderList()
    firstHeaders.forEach { name, value in
      if !name.equals("grpc-timeout") { fields.append(name, value) }
    }
    if let deadline {
      let left = Duration.nanoseconds((deadline - .now()).nanoseconds)
      fields.append("grpc-timeout", TimeoutHeader.encode(max(.zero, left)))
    }
    if attempts.previous > 0 { fields.append("grpc-previous-rpc-attempts", "\(attempts.previous)") }
    return fields
  }

  var path: String { firstHeaders[":path"] ?? "" }

  /// Another attempt can send all that this one did: nobody has written to the call or read from it.
  var canBeMadeAgain: Bool { incomingEnd == nil && !isCancelled && (onlyMessage != nil || opening != nil) }

  /// The call does not go out at once.
  func isHeldUp() { isLate = true }

  // MARK: The answer

  /// What has come beside the messages so far.
  var answerHeaders: AnswerHeaders { received.withLock { $0 } }

  func receivedInitialHeaders(_ fields: HeaderList) {
    receivedResponseHeaders = true
    received.withLock { $0.initial = fields }
    serveBeginnings()
  }

  func receivedTrailers(_ fields: HeaderList) { received.withLock { $0.trailing = fields } }

  private func serveBeginnings() {
    guard !beginnings.isEmpty, receivedResponseHeaders || incomingEnd != nil else { return }
    let waiting = beginnings
    beginnings = []
    for continuation in waiting {
      if case .failure(let error)? = incomingEnd, !receivedResponseHeaders {
        continuation.resume(throwing: error)
      } else {
        continuation.resume()
      }
    }
  }

  private func serveCompletion() {
    guard let completion, let incomingEnd else { return }
    self.completion = nil
    switch incomingEnd {
    case .failure(let error): completion.resume(throwing: error)
    case .success: completion.resume(with: Result { () throws(RPCError) in try takeOnlyMessage() })
    }
  }

  // MARK: The end

  override func incomingHasEnded() {
    deadline = nil
    guard let observers else { return }
    if case .failure(let error)? = incomingEnd {
      observers.ended(error, previousAttempts: attempts.previous)
    } else {
      observers.ended(nil, previousAttempts: attempts.previous)
    }
  }

  override func endIncoming(_ end: Result<Void, RPCError>) {
    super.endIncoming(end)
    if let opening, case .failure(let error)? = incomingEnd {
      self.opening = nil
      opening.resume(throwing: error)
    }
    serveBeginnings()
    serveCompletion()
  }

  /// A task that stops reading gives the call up.
  override func readerCancelled() { cancelNow() }

  /// Gives the call up, from any thread.
  func cancel() { onLoop { self.cancelNow() } }

  private func cancelNow() {
    isCancelled = true
    channel.giveUp(self, .cancelled)
  }

  /// This half of the call is whole.
  func finishWriting() {
    guard closeOutgoing(), let connection else { return }
    connection.session.finish(id)
    connection.flushSoon()
  }
}

/// What stands beside an answer's messages.
struct AnswerHeaders {
  /// Before the messages; an answer without messages may have none.
  var initial = HeaderList()
  /// After them, with the status.
  var trailing = HeaderList()

  var initialMetadata: Metadata { initial.metadata() }
  var trailingMetadata: Metadata { trailing.metadata() }
}
