"""Mutation testing: what could be changed without any test to notice?"""
