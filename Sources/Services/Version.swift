/// The version of this build, the same for all its programs.
public let iovmeshVersion = "0.1.0"
