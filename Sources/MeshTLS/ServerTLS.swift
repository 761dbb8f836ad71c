import MeshRPC
import NIOCore
import NIOSSL

/// TLS for a server's listeners; mutual where `trustRoots` are given, so that nobody gets in without a certificate.
public struct ServerTLS: ServerSecurity {
  public let credentials: Credentials

  /// Reads the files, and again when they change. Blocks on the disk.
  public init(
    _ paths: CertificatePaths, report: @escaping @Sendable (CertificateEvent) -> Void = { _ in }
  ) throws(CertificateError) {
    guard paths.certificate != nil, paths.key != nil else {
      throw CertificateError("a server needs a certificate and its key")
    }
    credentials = try Credentials(paths, .server, report: report)
  }

  public func secure(_ channel: any Channel, within timeout: TimeAmount) throws -> EventLoopFuture<[String]> {
    let tls = NIOSSLServerHandler(context: credentials.context, configuration: .leastMemory)
    let promise = channel.eventLoop.makePromise(of: [String].self)
    let peer = channel.remoteAddress.map { "\($0)" } ?? "a client"
    promise.futureResult.whenFailure { [credentials] error in
      credentials.refused(peer, (error as? RPCError)?.message ?? "\(error)")
    }
    let handshake = SecureHandshake(
      promise, behind: tls, within: timeout, words: TLSFailureWords(role: .server, paths: credentials.paths)
    ) { _ in nil }
    try channel.pipeline.syncOperations.addHandlers([tls, handshake])
    return promise.futureResult
  }
}

extension NIOSSLHandler.Configuration {
  /// A connection that once sent much does not keep room for as much again.
  static var leastMemory: NIOSSLHandler.Configuration {
    var configuration = NIOSSLHandler.Configuration()
    configuration.maximumPreservedOutboundBufferCapacity = 4096
    return configuration
  }
}
