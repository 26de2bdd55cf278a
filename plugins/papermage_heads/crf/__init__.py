"""``head=crf``: a linear-chain conditional random field over units."""
