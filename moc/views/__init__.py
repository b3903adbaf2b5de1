"""What a person looks at: tables, pictures, contact sheets and one page a study.

Import from the module that you need; each loads its drawing library only for itself.
"""
