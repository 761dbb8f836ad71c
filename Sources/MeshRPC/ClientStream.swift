import HTTP2Session
import NIOCore
import ProtobufRuntime

/// A call as its caller sees it.
final class ClientStream: CallStream, @unchecked Sendable {
  let headers: HeaderList
  /// The one message of a call that has one; the request ends with it.
  let onlyMessage: [UInt8]?
  private let channel: ChannelCore
  var receivedResponseHeaders = false
  /// Who waits for the call to be on its way.
  private var opening: UnsafeContinuation<Void, any Error>?
  /// Who waits for the one answer.
  private var completion: UnsafeContinuation<ArraySlice<UInt8>, any Error>?
  private var isCancelled = false

  init(headers: HeaderList, onlyMessage: [UInt8]?, channel: ChannelCore) {
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

  // MARK: The end

  override func endIncoming(_ end: Result<Void, RPCError>) {
    super.endIncoming(end)
    deadline = nil
    if let opening, case .failure(let error)? = incomingEnd {
      self.opening = nil
      opening.resume(throwing: error)
    }
    guard let completion else { return }
    self.completion = nil
    switch incomingEnd {
    case .failure(let error): completion.resume(throwing: error)
    default: completion.resume(with: Result { () throws(RPCError) in try takeOnlyMessage() })
    }
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
