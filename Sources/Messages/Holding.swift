extension Holding {
  /// Takes what is news of a holding into what is kept of it.
  public mutating func take(_ news: Holding) {
    inUse = inUse ?? news.inUse
    ended = ended ?? news.ended
    if whyEnded.isEmpty { whyEnded = news.whyEnded }
  }
}
