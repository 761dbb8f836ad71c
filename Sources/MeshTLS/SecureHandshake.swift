import MeshRPC
import NIOCore
import NIOSSL
import NIOTLS

/// Stands behind the TLS handler: HTTP/2's handler hears of the connection when the handshake is over and the peer is
/// who it should be, and of what went wrong in words.
final class SecureHandshake: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private enum State {
    case waiting(EventLoopPromise<[String]>, deadline: Scheduled<Void>?)
    case open
    case over
  }

  private var state: State
  private let tls: NIOSSLHandler
  private let timeout: TimeAmount
  private let words: TLSFailureWords
  /// Answers what is wrong with the peer's certificate, beyond what makes it valid.
  private let objection: (NIOSSLCertificate?) -> String?

  init(
    _ promise: EventLoopPromise<[String]>, behind tls: NIOSSLHandler, within timeout: TimeAmount,
    words: TLSFailureWords, objection: @escaping (NIOSSLCertificate?) -> String?
  ) {
    state = .waiting(promise, deadline: nil)
    self.tls = tls
    self.timeout = timeout
    self.words = words
    self.objection = objection
  }

  // MARK: The handshake

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { begin(context) }
  }

  func channelActive(context: ChannelHandlerContext) { begin(context) }

  private func begin(_ context: ChannelHandlerContext) {
    guard case .waiting(let promise, nil) = state else { return }
    let channel = context.channel
    let deadline = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] in
      guard let self, case .waiting = self.state else { return }
      self.fail("the TLS handshake was not over within \(self.timeout.nanoseconds / 1_000_000) ms")
      // Not in peace: who says nothing now does not say goodbye either.
      channel.close(promise: nil)
    }
    state = .waiting(promise, deadline: deadline)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case TLSUserEvent.handshakeCompleted(let applicationProtocol) = event else {
      return context.fireUserInboundEventTriggered(event)
    }
    guard case .waiting(let promise, let deadline) = state else { return }
    guard applicationProtocol == "h2" else {
      fail(words.noHTTP2(applicationProtocol))
      return context.close(promise: nil)
    }
    let certificate = tls.peerCertificate
    if let objection = objection(certificate) {
      fail(objection)
      return context.close(promise: nil)
    }
    deadline?.cancel()
    state = .open
    promise.succeed(certificate?.uriNames ?? [])
    context.fireChannelActive()
  }

  private func fail(_ reason: String) {
    guard case .waiting(let promise, let deadline) = state else { return }
    deadline?.cancel()
    state = .over
    promise.fail(RPCError(.unavailable, reason))
  }

  // MARK: What ends it

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A peer that closes without a goodbye, as a killed one does, has only closed: channelInactive tells it.
    if case NIOSSLError.uncleanShutdown = error { return }
    let reason = words.reason(error, peer: tls.peerCertificate)
    guard case .open = state else {
      fail(reason)
      return context.close(promise: nil)
    }
    // In TLS 1.3 a server looks at its client's certificate when the client takes the handshake for over.
    context.fireErrorCaught(RPCError(.unavailable, reason))
  }

  func channelInactive(context: ChannelHandlerContext) {
    fail(words.endOfStream)
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    // It was never connected.
    fail(words.endOfStream)
  }

  // MARK: What nobody is to hear of before

  func channelReadComplete(context: ChannelHandlerContext) {
    if case .open = state { context.fireChannelReadComplete() }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if case .open = state { context.fireChannelWritabilityChanged() }
  }
}
