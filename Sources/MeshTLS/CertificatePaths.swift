/// Where a process has its certificate, its key, and the authorities that it believes; PEM files.
public struct CertificatePaths: Sendable, Hashable {
  /// The certificate, and after it those that lead to an authority, if any. nil, like `key`: a client that shows none.
  public var certificate: String?
  public var key: String?
  /// Certificates of authorities. nil: a server asks its clients for no certificate; a client believes the system's
  /// authorities.
  public var trustRoots: String?

  public init(certificate: String?, key: String?, trustRoots: String?) {
    self.certificate = certificate
    self.key = key
    self.trustRoots = trustRoots
  }
}

/// Certificates that cannot be used: which file, what was found, what to do.
public struct CertificateError: Error, Hashable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}

/// What happens to certificates while they are used, for a log.
public enum CertificateEvent: Sendable, CustomStringConvertible {
  /// Changed files were read; new connections use them.
  case reloaded
  /// Changed files are of no use; new connections use the former ones.
  case keptFormer(CertificateError)
  /// A peer was not let in.
  case refused(peer: String, reason: String)

  public var description: String {
    switch self {
    case .reloaded: "the changed certificate files are in use"
    case .keptFormer(let error): "the changed certificate files cannot be used, the former ones stay: \(error)"
    case .refused(let peer, let reason): "\(peer) was refused: \(reason)"
    }
  }
}
