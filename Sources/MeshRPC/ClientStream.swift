import HTTP2Session
import NIOCore
import ProtobufRuntime
import Synchronization

/// A call as its caller sees it.
final class ClientStream: CallStream, @unchecked Sendable {
  let headers: HeaderList
  /// The one message of a call that has one; the request ends with it.
  let onlyMessage: MessageBuffer?
  private let channel: ChannelCore
  var receivedResponseHeaders = false
  /// Who waits for the call to be on its way.
  private var opening: UnsafeContinuation<Void, any Error>?
  /// Who waits for the one answer.
  private var completion: UnsafeContinuation<ArraySlice<UInt8>, any Error>?
  /// Who waits for the answer to begin.
  private var beginnings: [UnsafeContinuation<Void, any Error>] = []
  private var isCancelled = false
  /// Written on the loop, read by whoever holds the call.
  private let received = Mutex(AnswerHeaders())

  init(headers: HeaderList, onlyMessage: MessageBuffer?, channel: ChannelCore) {
    self.headers = headers
    self.onlyMessage = onlyMessage
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

  // MARK: The answer

  /// What has come beside the messages so far.
  var answerHeaders: AnswerHeaders { received.withLock { $0 } }

  func receivedInitialHeaders(_ fields: HeaderList) {
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

  override func endIncoming(_ end: Result<Void, RPCError>) {
    super.endIncoming(end)
    deadline = nil
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
