import Messages

/// What can be asked of a plugin about one function; the names are those of iov.v1.VirtualFunctions, in lower case.
public enum Verb: String, Sendable, Hashable, CaseIterable {
  case create, attach, serve, connect
  case configure
  case detach, unserve, disconnect
  case fence
  case scrub, destroy

  /// Gives somebody something.
  public var setsUp: Bool {
    switch self {
    case .create, .attach, .serve, .connect, .configure: true
    case .detach, .unserve, .disconnect, .fence, .scrub, .destroy: false
    }
  }

  /// The phases that a plugin may answer when it has done what it was asked.
  func promises(_ phase: FunctionPhase) -> Bool {
    switch self {
    case .create: phase == .created || phase == .inUse
    case .attach, .serve, .connect, .configure: phase == .inUse
    case .detach, .unserve, .fence, .scrub: phase == .created || phase == .scrubbing || phase == .absent
    case .disconnect, .destroy: phase == .absent
    }
  }
}

extension Role {
  /// What makes a function usable in this role; nil for a role that this version does not know.
  var firstVerb: Verb? {
    switch self {
    case .direct, .server: .create
    case .consumer: .connect
    case .fencer, .unspecified, .unrecognized: nil
    }
  }

  /// What gives a function that exists to its user.
  var useVerb: Verb? {
    switch self {
    case .direct: .attach
    case .server: .serve
    case .consumer: .connect
    case .fencer, .unspecified, .unrecognized: nil
    }
  }

  /// What takes it away again.
  var cutVerb: Verb? {
    switch self {
    case .direct: .detach
    case .server: .unserve
    case .consumer: .disconnect
    case .fencer: .fence
    case .unspecified, .unrecognized: nil
    }
  }

  /// The side that has the end node makes and destroys the function, and enforces its rates where no tenant can reach.
  var hasEndNode: Bool { self == .direct || self == .server }

  /// Whether a verb in this role is good only while the coordinator's word is: what sets up, and all that a fencer does,
  /// because the device that it cuts off and cleans may have been given to somebody else by now.
  func needsWord(for verb: Verb) -> Bool { verb.setsUp || self == .fencer }
}
