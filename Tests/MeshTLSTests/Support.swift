import CertificateAuthority
import ClusterSecurity
import FoundationEssentials
import Glibc
import Identities
import MeshRPC
import MeshTLS
import Messages
import NIOCore
import NIOPosix
import Synchronization
import Testing

typealias Text = GetClaimRequest

extension Text {
  init(_ text: String) {
    self.init()
    name = text
  }
}

let echo = MethodDescriptor<Text, Text>(service: "test.Echo", method: "Echo")
/// Answers the scheme and the caller's names.
let whoAmI = MethodDescriptor<Text, Text>(service: "test.Echo", method: "WhoAmI")

struct EchoService: RPCService {
  func register(in router: inout Router) {
    router.unary(echo) { request, _ in request }
    router.unary(whoAmI) { _, call in
      Text((call.peer.identity == nil ? "http " : "https ") + (call.peer.identity ?? []).joined(separator: " "))
    }
  }
}

/// A directory of a test's own, removed with the last reference to it.
final class TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    path = "/tmp/iov-tls-" + UUID().uuidString
    guard mkdir(path, 0o700) == 0 else { throw IdentityError("cannot make \(path)") }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }
}

/// An authority of the cluster `rack`, and what it issues.
final class TestCluster: Sendable {
  let directory: TemporaryDirectory
  private let authority: CertificateAuthority
  private let count = Mutex(0)

  init() throws {
    directory = try TemporaryDirectory()
    authority = try AuthorityDirectory(directory.path).create(cluster: "rack", days: 10)
  }

  /// A directory with a new certificate, whose time ends in so many seconds.
  func files(
    _ role: ClusterIdentity.Role, validFor seconds: TimeInterval = 86_400
  ) throws -> String {
    let number = count.withLock { count in
      count += 1
      return count
    }
    let path = directory.file("\(number)")
    try issue(role, into: path, validFor: seconds)
    return path
  }

  func issue(_ role: ClusterIdentity.Role, into path: String, validFor seconds: TimeInterval) throws {
    let identity = try ClusterIdentity(cluster: "rack", role: role)
    let isServer = role == .coordinator
    let place = CertificateDirectory(path)
    try place.issue(
      identity, by: authority, dnsNames: isServer ? ["localhost"] : [],
      ipAddresses: isServer ? [[127, 0, 0, 1]] : [], days: 1)
    guard seconds < 86_400 else { return }
    let key = try CertificateKey(pem: String(contentsOfFile: place.keyPath, encoding: .utf8))
    let end = Date() + seconds
    let certificate = try authority.issue(
      identity, for: key, dnsNames: isServer ? ["localhost"] : [], ipAddresses: isServer ? [[127, 0, 0, 1]] : [],
      notValidBefore: end - 86_400, notValidAfter: end)
    try certificate.write(toFile: place.certificatePath, atomically: true, encoding: .utf8)
  }

  func client(_ role: ClusterIdentity.Role) throws -> ClientTLS {
    try TLSSettings(directory: files(role)).client().security
  }

  func paths(_ role: ClusterIdentity.Role) throws -> CertificatePaths {
    let files = try files(role)
    return CertificatePaths(
      certificate: files + "/certificate.pem", key: files + "/key.pem", trustRoots: files + "/ca.pem")
  }
}

/// Runs a server until `body` returns.
func withServing(
  limits: ServerLimits = ServerLimits(), _ body: @Sendable (RPCServer) async throws -> Void
) async throws {
  let server = RPCServer(services: [EchoService()], limits: limits)
  try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { try await server.run() }
    defer { group.cancelAll() }
    try await body(server)
  }
}

/// Runs a server with mutual TLS; hands on its endpoint, and what it reports of certificates.
func withSecureServer(
  _ cluster: TestCluster, certificate: String? = nil, limits: ServerLimits = ServerLimits(),
  _ body: @Sendable (SocketEndpoint, AsyncStream<String>) async throws -> Void
) async throws {
  let (events, continuation) = AsyncStream.makeStream(of: String.self)
  let files = try certificate ?? cluster.files(.coordinator)
  let security = try ServerTLS(
    CertificatePaths(certificate: files + "/certificate.pem", key: files + "/key.pem", trustRoots: files + "/ca.pem")
  ) { continuation.yield("\($0)") }
  try await withServing(limits: limits) { server in
    try await body(try await server.bind(.tcp(host: "127.0.0.1", port: 0), security: security), events)
  }
}

/// Why a call over a new connection failed; empty, and a failure of the test, if it did not.
func refusal(
  _ endpoint: SocketEndpoint, _ security: ClientTLS?, _ sourceLocation: SourceLocation = #_sourceLocation
) async -> String {
  let channel = RPCChannel(endpoint, security: security)
  let error = await rpcError(sourceLocation) { _ = try await channel.unary(echo, Text("x")) }
  await channel.close()
  #expect(error?.code == .unavailable, sourceLocation: sourceLocation)
  return error?.message ?? ""
}

func rpcError(
  _ sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async -> RPCError? {
  do {
    try await body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
  } catch let error as RPCError {
    return error
  } catch {
    Issue.record("\(error) is no RPCError", sourceLocation: sourceLocation)
  }
  return nil
}

/// A connection that says nothing.
struct RawConnection {
  private final class Collector: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    let received: AsyncStream<[UInt8]>.Continuation

    init(_ received: AsyncStream<[UInt8]>.Continuation) { self.received = received }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      received.yield(Array(unwrapInboundIn(data).readableBytesView))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    func channelInactive(context: ChannelHandlerContext) { received.finish() }
  }

  private let received: AsyncStream<[UInt8]>

  init(_ endpoint: SocketEndpoint) async throws {
    guard case .tcp(let host, let port) = endpoint else { throw RPCError(.invalidArgument, "\(endpoint)") }
    let (received, continuation) = AsyncStream.makeStream(of: [UInt8].self)
    self.received = received
    _ = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).channelInitializer { channel in
      channel.pipeline.addHandler(Collector(continuation))
    }.connect(host: host, port: port).get()
  }

  /// Returns when the other side has closed, with all that it sent.
  func bytesUntilClosed() async -> [UInt8] {
    await received.reduce(into: []) { $0 += $1 }
  }
}
